from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import correlate
from torch import nn

from stimgen.errors import InputError
from stimgen.networks import extractor as extractor_module
from stimgen.networks import memory
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import FeatureExtractor, build_extractor, whole
from stimgen.networks.weights import Weights
from stimgen.texture.statistics.gram import gram_matrix

MakeWeights = Callable[[str], Weights]


def _numpy_features(
    weights: Weights, image: NDArray[np.float64], pooling: str
) -> dict[str, NDArray[np.float64]]:
    """The forward of one (3, H, W) image in float64 with SciPy, as the textbook has it."""
    convention = weights.convention
    maps = (image * convention.scale - np.reshape(convention.mean, (3, 1, 1))) / np.reshape(
        convention.std, (3, 1, 1)
    )
    parameters = iter(zip(weights.kernels, weights.biases, strict=True))
    found = {}
    for layer in NETWORKS[weights.network]().layers:
        if layer.startswith("conv"):
            kernel, bias = (tensor.double().numpy() for tensor in next(parameters))
            padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
            sums = [correlate(padded, k, mode="valid", method="direct")[0] + b for k, b in zip(kernel, bias)]  # noqa: B905
            maps = np.maximum(np.stack(sums), 0)
        else:
            n, h, w = maps.shape
            blocks = maps[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2)
            maps = blocks.mean((2, 4)) if pooling == "average" else blocks.max((2, 4))
        found[layer] = maps
    return found


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("convention", ["torchvision", "caffe-rgb", "caffe-bgr"])
def test_forward_agrees_with_an_independent_one(
    tiny_weights: MakeWeights, pooling: str, convention: str
) -> None:
    weights = tiny_weights(convention)
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 13, 10)).astype(np.float32)
    extractor = build_extractor(weights, pooling=pooling, normalise=False)  # type: ignore[arg-type]
    found = extractor.features(torch.from_numpy(images), extractor.architecture.layers)
    assert tuple(found) == extractor.architecture.layers
    for index, image in enumerate(images):
        expected = _numpy_features(weights, image.astype(np.float64), pooling)
        for layer, maps in expected.items():
            np.testing.assert_allclose(found[layer][index].numpy(), maps, rtol=1e-4, atol=1e-4)


def test_caffe_bgr_is_caffe_rgb_with_the_kernel_turned(tiny_weights: MakeWeights) -> None:
    bgr, rgb = tiny_weights("caffe-bgr"), tiny_weights("caffe-rgb")
    assert bgr.convention == rgb.convention
    assert torch.equal(bgr.kernels[0], rgb.kernels[0].flip(1))
    assert torch.equal(bgr.kernels[1], rgb.kernels[1])


def test_vgg16_agrees_with_a_plain_sequence_of_modules(oxford: Weights) -> None:
    modules: list[nn.Module] = []
    names: list[str] = []
    parameters = iter(zip(oxford.kernels, oxford.biases, strict=True))
    for block, depth in enumerate((2, 2, 3), start=1):
        for number in range(1, depth + 1):
            kernel, bias = next(parameters)
            convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, dtype=torch.float64)
            convolution.load_state_dict({"weight": kernel.double(), "bias": bias.double()})
            modules.append(nn.Sequential(convolution, nn.ReLU()))
            names.append(f"conv{block}_{number}")
        modules.append(nn.AvgPool2d(2))
        names.append(f"pool{block}")
    image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    extractor = build_extractor(oxford, normalise=False, deepest="pool3")
    found = extractor.features(image, names)
    maps = image.double() * 255 - torch.tensor([123.68, 116.779, 103.939]).double().view(1, 3, 1, 1)
    with torch.no_grad():
        for name, module in zip(names, modules, strict=True):
            maps = module(maps)
            error = (found[name] - maps).norm() / maps.norm()
            assert error < 1e-5, name


def test_forward_stops_at_the_deepest_layer_asked_for(tiny_weights: MakeWeights) -> None:
    whole = build_extractor(tiny_weights("torchvision"), normalise=False)
    unusable = replace(whole, kernels=(*whole.kernels[:2], torch.zeros(1, 1, 1, 1)))
    image = torch.rand(1, 3, 8, 8)
    found = unusable.features(image, ["pool1", "conv1_1"])
    assert list(found) == ["conv1_1", "pool1"]
    assert torch.equal(found["pool1"], whole.features(image, ["pool1"])["pool1"])
    with pytest.raises(RuntimeError):
        unusable.features(image, ["conv2_1"])


def test_a_shortened_network_gives_the_same_features(tiny_weights: MakeWeights) -> None:
    weights = tiny_weights("caffe-rgb")
    short = build_extractor(weights, deepest="pool1")
    assert len(short.kernels) == len(short.biases) == 2
    image = torch.rand(1, 3, 8, 8)
    whole = build_extractor(weights)
    assert torch.equal(short.features(image, ["pool1"])["pool1"], whole.features(image, ["pool1"])["pool1"])
    with pytest.raises(InputError, match='no layer "conv2_1"'):
        short.features(image, ["conv2_1"])


def test_average_and_max_pooling_differ_only_from_the_first_pool_on(tiny_weights: MakeWeights) -> None:
    weights = tiny_weights("torchvision")
    image = torch.rand(1, 3, 8, 8)
    average = build_extractor(weights, pooling="average", normalise=False).features(
        image, ["conv1_2", "pool1"]
    )
    largest = build_extractor(weights, pooling="max", normalise=False).features(image, ["conv1_2", "pool1"])
    assert torch.equal(average["conv1_2"], largest["conv1_2"])
    assert (average["pool1"] <= largest["pool1"]).all()
    assert not torch.equal(average["pool1"], largest["pool1"])
    with pytest.raises(InputError, match='Unknown pooling "mean"'):
        build_extractor(weights, pooling="mean")  # type: ignore[arg-type]


def test_weights_are_frozen_and_gradients_reach_the_image(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False).to(dtype=torch.float64)
    assert not any(t.requires_grad for t in (*extractor.kernels, *extractor.biases, extractor.gain))
    image = torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def features(x: torch.Tensor) -> torch.Tensor:
        return extractor.features(x, ["pool1", "conv2_1"])["conv2_1"]

    assert torch.autograd.gradcheck(features, (image.requires_grad_(),))


def test_kernels_and_features_are_channels_last(tiny_weights: MakeWeights) -> None:
    for normalise in (False, True):
        extractor = build_extractor(tiny_weights("torchvision"), normalise=normalise)
        assert all(k.is_contiguous(memory_format=torch.channels_last) for k in extractor.kernels)
        maps = extractor.features(torch.rand(2, 3, 8, 8), ["conv2_1"])["conv2_1"]
        assert maps.is_contiguous(memory_format=torch.channels_last)


def test_the_input_is_normalised_in_float32_before_bfloat16(tiny_weights: MakeWeights) -> None:
    full = build_extractor(tiny_weights("torchvision"), normalise=False)
    half = full.to(dtype=torch.bfloat16)
    assert (half.dtype, half.gain.dtype, full.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    # Two images nearer to each other than bfloat16 can tell near 1, around the mean that is taken off.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    layers = ["conv1_1"]
    difference = half.features(mean + 4e-4, layers)["conv1_1"] - half.features(mean, layers)["conv1_1"]
    assert difference.dtype == torch.bfloat16
    assert difference.abs().max() > 0
    image = torch.rand(1, 3, 16, 16)
    exact, rough = full.features(image, ["pool2"])["pool2"], half.features(image, ["pool2"])["pool2"]
    assert (exact - rough.float()).norm() / exact.norm() < 0.02


def test_bad_images_are_refused(tiny_weights: MakeWeights) -> None:
    extractor: FeatureExtractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), not \(3, 8, 8\)"):
        extractor.features(torch.rand(3, 8, 8), ["conv1_1"])
    with pytest.raises(InputError, match=r"8 x 3 px are too small for layer pool2\.\nUse at least 4 px"):
        extractor.features(torch.rand(1, 3, 8, 3), ["pool2"])


LAYER_SETS = [("conv1_1", "conv1_2", "pool1", "conv3_2", "pool3"), ("pool2",), ("conv2_1", "conv3_1")]


@pytest.mark.parametrize("layers", LAYER_SETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_recomputation_changes_no_bit(
    oxford: Weights,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
    dtype: torch.dtype,
    layers: tuple[str, ...],
) -> None:
    extractor = build_extractor(oxford, pooling=pooling, normalise=False, deepest="pool3", dtype=dtype)  # type: ignore[arg-type]
    image = torch.rand(2, 3, 40, 33, generator=torch.Generator().manual_seed(7))

    def run(statistic: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        pixels = image.clone().requires_grad_()
        found = extractor.features(pixels, layers, statistic)
        assert tuple(found) == layers
        loss = torch.stack([maps.float().square().mean() for maps in found.values()]).sum()
        return [*found.values(), *torch.autograd.grad(loss, pixels)]

    passes = count_convolutions(monkeypatch)
    for statistic in (whole, gram_matrix):
        monkeypatch.setattr(memory, "RECOMPUTE_ABOVE_BYTES", 1e12)
        plain = run(statistic)
        once = len(passes)
        monkeypatch.setattr(memory, "RECOMPUTE_ABOVE_BYTES", 0)
        again = run(statistic)
        assert len(passes) - once > once
        assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
        assert again[-1].abs().sum() > 0
        passes.clear()


def count_convolutions(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that gets an entry with every forward convolution."""
    convolve, passes = torch.nn.functional.conv2d, []

    def counted(*args: object) -> torch.Tensor:
        passes.append(None)
        return convolve(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "conv2d", counted)
    return passes


def test_nothing_is_recomputed_without_a_gradient(
    tiny_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "RECOMPUTE_ABOVE_BYTES", 0)
    monkeypatch.setattr(extractor_module, "checkpoint", None)
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    extractor.features(torch.rand(1, 3, 8, 8), ["pool2"])
    with torch.no_grad():
        extractor.features(torch.rand(1, 3, 8, 8, requires_grad=True), ["pool2"])


def test_maps_are_gone_when_their_statistic_is_taken(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    seen: list[weakref.ref[torch.Tensor]] = []

    def statistic(maps: torch.Tensor) -> torch.Tensor:
        # There are still the maps just before, and those at the block's start.
        assert sum(reference() is not None for reference in seen) <= 2
        seen.append(weakref.ref(maps))
        return maps.mean()

    layers = extractor.architecture.layers
    found = extractor.features(torch.rand(1, 3, 8, 8), layers, statistic)
    assert [mean.ndim for mean in found.values()] == [0] * len(layers) == [0] * len(seen)
