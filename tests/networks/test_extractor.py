from __future__ import annotations

import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.io import imread

from stimgen.errors import InputError, StimgenError
from stimgen.images.read import skimage_file
from stimgen.networks import extractor as extractor_module
from stimgen.networks import photographs as photographs_module
from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.extractor import (
    build_extractor,
    mean_activations,
    normalise_activations,
    whole,
)
from stimgen.networks.photographs import PHOTOGRAPHS, photographs


def plain_features(tensors, convention, images, pooling="average", padding="zeros"):
    """The layers of "tiny" in float64, by PyTorch's functions alone."""
    mean, std = (
        torch.tensor(values).double().view(1, 3, 1, 1) for values in (convention.mean, convention.std)
    )
    maps = (images.double() * convention.scale - mean) / std
    parameters = iter(zip(tensors.kernels, tensors.biases, strict=True))
    found = {}
    for layer in NETWORKS["tiny"]().layers:
        if layer.startswith("conv"):
            padded = F.pad(maps, (1,) * 4, mode="constant" if padding == "zeros" else "reflect")
            maps = F.relu(F.conv2d(padded, *(tensor.double() for tensor in next(parameters))))
        else:
            maps = F.avg_pool2d(maps, 2) if pooling == "average" else F.max_pool2d(maps, 2)
        found[layer] = maps
    return found


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("convention", ["torchvision", "caffe-rgb", "caffe-bgr"])
def test_forward_pass_agrees_with_float64(tiny_weights, pooling, convention):
    weights = tiny_weights(convention)
    images = torch.rand(2, 3, 13, 10, generator=torch.Generator().manual_seed(1))
    extractor = build_extractor(weights, pooling=pooling, normalise=False)
    found = extractor.features(images, extractor.architecture.layers)
    expected = plain_features(weights, weights.convention, images, pooling)
    assert tuple(found) == tuple(expected)
    for layer, maps in expected.items():
        torch.testing.assert_close(found[layer].double(), maps, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match='Unknown pooling "mean"'):
        build_extractor(weights, pooling="mean")
    with pytest.raises(InputError, match='Unknown padding "reflect"'):
        build_extractor(weights, padding="reflect")


def test_forward_pass_stops_at_the_deepest_layer_asked_for(tiny_weights):
    complete = build_extractor(tiny_weights("torchvision"), normalise=False)
    unusable = replace(complete, kernels=(*complete.kernels[:2], torch.zeros(1, 1, 1, 1)))
    image = torch.rand(1, 3, 8, 8)
    found = unusable.features(image, ["pool1", "conv1_1"])
    assert list(found) == ["conv1_1", "pool1"]
    assert torch.equal(found["pool1"], complete.features(image, ["pool1"])["pool1"])
    short = build_extractor(tiny_weights("torchvision"), normalise=False, deepest="pool1")
    assert len(short.kernels) == len(short.biases) == 2
    assert torch.equal(found["pool1"], short.features(image, ["pool1"])["pool1"])
    with pytest.raises(RuntimeError):
        unusable.features(image, ["conv2_1"])


def test_weights_are_frozen_and_gradients_reach_the_image(tiny_weights):
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False).to(dtype=torch.float64)
    assert not any(t.requires_grad for t in (*extractor.kernels, *extractor.biases, extractor.gain))
    image = torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def features(x):
        return extractor.features(x, ["pool1", "conv2_1"])["conv2_1"]

    assert torch.autograd.gradcheck(features, (image.requires_grad_(),))


def test_kernels_and_features_are_channels_last(tiny_weights):
    extractor = build_extractor(tiny_weights("torchvision"))
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in extractor.kernels)
    maps = extractor.features(torch.rand(2, 3, 8, 8), ["conv2_1"])["conv2_1"]
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_input_is_normalised_in_float32_before_bfloat16(tiny_weights):
    full = build_extractor(tiny_weights("torchvision"), normalise=False)
    half = full.to(dtype=torch.bfloat16)
    assert (half.dtype, half.gain.dtype, full.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    # Two images around the mean that differ by less than the precision of bfloat16 near 1.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    layers = ["conv1_1"]
    difference = half.features(mean + 4e-4, layers)["conv1_1"] - half.features(mean, layers)["conv1_1"]
    assert difference.dtype == torch.bfloat16
    assert difference.abs().max() > 0
    image = torch.rand(1, 3, 16, 16)
    exact, rough = full.features(image, ["pool2"])["pool2"], half.features(image, ["pool2"])["pool2"]
    assert (exact - rough.float()).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("padding", ["zeros", "mirrored"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_gradients_are_those_of_plain_functions(tiny_weights, monkeypatch, pooling, padding):
    weights = tiny_weights("caffe-rgb")
    settings = {"pooling": pooling, "padding": padding, "normalise": False}
    image = torch.rand(2, 3, 40, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    image.requires_grad_()
    expected = plain_features(weights, CONVENTIONS["caffe-rgb"], image, pooling, padding)
    (goal,) = torch.autograd.grad(sum(maps.square().mean() for maps in expected.values()), image)
    for band in (2**22, 400):
        monkeypatch.setattr(extractor_module, "BAND", band)
        monkeypatch.setattr(extractor_module, "PIECE", 100)
        extractor = build_extractor(weights, dtype=torch.float64, **settings)
        found = extractor.features(image, list(expected), whole)
        for layer, maps in found.items():
            torch.testing.assert_close(maps, expected[layer], rtol=1e-6, atol=1e-6)
        (gradient,) = torch.autograd.grad(sum(maps.square().mean() for maps in found.values()), image)
        torch.testing.assert_close(gradient, goal, rtol=1e-4, atol=1e-6 * goal.abs().max().item())


def test_gradients_of_others_are_not_written_to(tiny_weights):
    network = build_extractor(tiny_weights("caffe-rgb"), normalise=False, dtype=torch.float64)
    image = torch.rand(1, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    given = torch.randn(1, network.architecture.convolutions[0].out_channels, 12, 12).double()
    given = given.to(memory_format=torch.channels_last)
    before = given.clone()
    first = network.architecture.layers[0]

    def product(twice):
        maps = network.features(image, [first])[first]
        return maps + maps if twice else maps

    (once,) = torch.autograd.grad(product(False), image, given)
    (twice,) = torch.autograd.grad(product(True), image, given)
    assert torch.equal(given, before)
    torch.testing.assert_close(twice, 2 * once)


def test_a_gradient_is_zero_where_the_relu_cuts_off_even_if_it_is_infinite(tiny_weights):
    extractor = build_extractor(tiny_weights("caffe-rgb"), normalise=False)
    image = torch.zeros(1, 3, 8, 8, requires_grad=True)
    maps = extractor.features(image, ["conv1_1"])["conv1_1"]
    assert (maps == 0).any()
    incoming = torch.where(maps == 0, torch.inf, 1.0)
    assert torch.autograd.grad(maps, image, incoming)[0].isfinite().all()


def test_maps_are_freed_when_their_statistic_is_computed(tiny_weights):
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    seen = []

    def statistic(maps):
        # Only the previous maps still exist.
        assert sum(reference() is not None for reference in seen) <= 1
        seen.append(weakref.ref(maps))
        return maps.mean()

    layers = extractor.architecture.layers
    found = extractor.features(torch.rand(1, 3, 8, 8), layers, statistic)
    assert [mean.ndim for mean in found.values()] == [0] * len(layers) == [0] * len(seen)


def test_normalised_filters_have_a_mean_activation_of_one(tiny_weights):
    extractor = build_extractor(tiny_weights("caffe-rgb"))
    images = torch.from_numpy(np.stack(list(photographs()))).permute(0, 3, 1, 2)
    for layer, maps in plain_features(extractor, CONVENTIONS["caffe-rgb"], images).items():
        if layer.startswith("conv"):
            means = maps.mean((0, 2, 3))
            assert (means > 0).double().mean() > 0.999
            assert (means - 1).abs().max() < 1e-4


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_normalised_maps_are_the_original_ones_up_to_a_scale_per_channel(tiny_weights, pooling):
    raw = build_extractor(tiny_weights("caffe-rgb"), pooling=pooling, normalise=False)
    kept = [tensor.clone() for tensor in (*raw.kernels, *raw.biases)]
    normalised = normalise_activations(raw)
    assert all(map(torch.equal, kept, (*raw.kernels, *raw.biases)))
    scales = mean_activations(raw)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    layers = raw.architecture.layers
    before, after = raw.features(image, layers), normalised.features(image, layers)
    convolution = -1
    for layer in layers:
        convolution += layer.startswith("conv")
        expected = before[layer].double() / scales[convolution].view(1, -1, 1, 1)
        assert (after[layer] - expected).norm() / expected.norm() < 1e-5, layer


@pytest.fixture
def measured(monkeypatch):
    """The calls that measure activations."""
    calls = []
    monkeypatch.setattr(
        extractor_module, "mean_activations", lambda e: calls.append(e) or mean_activations(e)
    )
    return calls


def test_activations_are_measured_once_for_each_network(tiny_weights, cache, measured):
    weights = tiny_weights("caffe-rgb")
    first, again = build_extractor(weights), build_extractor(weights)
    assert len(measured) == 1
    for name in ("kernels", "biases"):
        assert all(map(torch.equal, getattr(first, name), getattr(again, name)))
    shallow = build_extractor(weights, deepest="conv1_1")
    build_extractor(weights, pooling="max")
    build_extractor(tiny_weights("torchvision"))
    weights.biases[1][0] += 1e-3
    changed = build_extractor(weights)
    assert len(measured) == len(list((cache.parent / "activations").iterdir())) == 5
    assert torch.equal(shallow.kernels[0], first.kernels[0])
    assert not torch.equal(changed.kernels[1], first.kernels[1])


@pytest.mark.parametrize("damage", ["a byte", "cut off", "empty", "a folder"])
def test_a_damaged_file_of_activations_is_replaced(tiny_weights, cache, measured, damage):
    weights = tiny_weights("caffe-rgb")
    first = build_extractor(weights)
    (path,) = (cache.parent / "activations").iterdir()
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        damaged = {"a byte": content[:-1] + bytes([content[-1] ^ 1]), "cut off": content[:-9], "empty": b""}
        path.write_bytes(damaged[damage])
    again = build_extractor(weights)
    assert len(measured) == 2
    assert all(map(torch.equal, first.kernels, again.kernels))
    if damage != "a folder":  # which cannot be replaced
        assert path.read_bytes() == content
        build_extractor(weights)
        assert len(measured) == 2


def test_a_filter_that_is_never_active_keeps_its_scale(tiny_weights):
    weights = tiny_weights("torchvision")
    with torch.no_grad():
        weights.biases[0][1] = -1e6
    raw = build_extractor(weights, normalise=False)
    normalised = normalise_activations(raw)
    assert mean_activations(raw)[0][1] == 0
    assert torch.equal(normalised.kernels[0][1], raw.kernels[0][1])
    assert normalised.biases[0][1] == raw.biases[0][1]
    assert all(torch.isfinite(kernel).all() for kernel in normalised.kernels)


def shrunk(rows):
    """The first axis in 256 means of the samples whose centres lie within a pixel, rounded."""
    pixel = np.ceil((np.arange(len(rows)) + 0.5) * 256 / len(rows)).astype(int) - 1
    means = np.stack([rows[pixel == number].mean(axis=0) for number in range(256)])
    return np.floor(means + 0.5)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_is_averaged_along_rows_and_then_along_columns(name):
    path = skimage_file(name)
    assert path is not None
    picture = imread(path)
    picture = np.repeat(picture[..., np.newaxis], 3, axis=2) if picture.ndim == 2 else picture[..., :3]
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = picture[top : top + side, left : left + side].astype(float)
    expected = shrunk(shrunk(square.swapaxes(0, 1)).swapaxes(0, 1)) / 255
    np.testing.assert_array_equal(
        dict(zip(PHOTOGRAPHS, photographs(), strict=True))[name], np.float32(expected)
    )


def test_a_changed_or_missing_photograph_is_an_error(tmp_path, monkeypatch):
    for name in PHOTOGRAPHS:
        path = skimage_file("coffee.png" if name == "chelsea.png" else name)
        assert path is not None
        shutil.copy(path, tmp_path / name)
    monkeypatch.setattr(
        photographs_module, "skimage_file", lambda name: path if (path := tmp_path / name).is_file() else None
    )
    with pytest.raises(StimgenError, match=r"lacks the photograph chelsea.png(.|\n)*reinstall"):
        list(photographs())
    (tmp_path / "camera.png").unlink()
    with pytest.raises(StimgenError, match=r"lacks the photograph camera.png"):
        list(photographs())
