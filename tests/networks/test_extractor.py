from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.signal import correlate

from stimgen.errors import InputError
from stimgen.networks import architectures
from stimgen.networks import extractor as extractor_module
from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.extractor import (
    build_extractor,
    mean_activations,
    normalise_activations,
    photographs,
    share_near_one,
    whole,
)
from stimgen.networks.weights import Weights, find_weights
from stimgen.texture.statistics.gram import gram_matrix

MakeWeights = Callable[[str], Weights]


def scipy_features(
    weights: Weights, image: NDArray[np.float64], pooling: str
) -> dict[str, NDArray[np.float64]]:
    """The forward pass of one (3, H, W) image in float64 with SciPy."""
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
            sums = [
                correlate(padded, k, mode="valid", method="direct")[0] + b
                for k, b in zip(kernel, bias, strict=True)
            ]
            maps = np.maximum(np.stack(sums), 0)
        else:
            n, h, w = maps.shape
            blocks = maps[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2)
            maps = blocks.mean((2, 4)) if pooling == "average" else blocks.max((2, 4))
        found[layer] = maps
    return found


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("convention", ["torchvision", "caffe-rgb", "caffe-bgr"])
def test_forward_pass_agrees_with_scipy(tiny_weights: MakeWeights, pooling: str, convention: str) -> None:
    weights = tiny_weights(convention)
    images = np.random.default_rng(0).random((2, 3, 13, 10)).astype(np.float32)
    extractor = build_extractor(weights, pooling=pooling, normalise=False)  # type: ignore[arg-type]
    found = extractor.features(torch.from_numpy(images), extractor.architecture.layers)
    assert tuple(found) == extractor.architecture.layers
    for index, image in enumerate(images):
        for layer, maps in scipy_features(weights, image.astype(np.float64), pooling).items():
            np.testing.assert_allclose(found[layer][index].numpy(), maps, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match='Unknown pooling "mean"'):
        build_extractor(weights, pooling="mean")  # type: ignore[arg-type]


def test_forward_pass_stops_at_the_deepest_layer_asked_for(tiny_weights: MakeWeights) -> None:
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


def test_weights_are_frozen_and_gradients_reach_the_image(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False).to(dtype=torch.float64)
    assert not any(t.requires_grad for t in (*extractor.kernels, *extractor.biases, extractor.gain))
    image = torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def features(x: torch.Tensor) -> torch.Tensor:
        return extractor.features(x, ["pool1", "conv2_1"])["conv2_1"]

    assert torch.autograd.gradcheck(features, (image.requires_grad_(),))


def test_kernels_and_features_are_channels_last(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("torchvision"))
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in extractor.kernels)
    maps = extractor.features(torch.rand(2, 3, 8, 8), ["conv2_1"])["conv2_1"]
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_input_is_normalised_in_float32_before_bfloat16(tiny_weights: MakeWeights) -> None:
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


@pytest.mark.parametrize("layers", [("conv1_1", "conv1_2", "pool1", "conv2_1", "pool2"), ("conv1_2",)])
@pytest.mark.parametrize(
    ("pooling", "dtype", "statistic"),
    [
        ("average", torch.float32, gram_matrix),
        ("max", torch.bfloat16, gram_matrix),
        ("max", torch.float32, whole),
    ],
)
def test_recomputation_changes_no_bit(
    tiny_weights: MakeWeights,
    monkeypatch: pytest.MonkeyPatch,
    statistic: Callable[[torch.Tensor], torch.Tensor],
    pooling: str,
    dtype: torch.dtype,
    layers: tuple[str, ...],
) -> None:
    extractor = build_extractor(
        tiny_weights("caffe-rgb"),
        pooling=pooling,  # type: ignore[arg-type]
        normalise=False,
        dtype=dtype,
    )
    image = torch.rand(2, 3, 40, 33, generator=torch.Generator().manual_seed(7))
    convolve, passes = F.conv2d, []

    def counted(*args: object) -> torch.Tensor:
        passes.append(None)
        return convolve(*args)  # type: ignore[arg-type]

    def run(limit: float) -> tuple[list[torch.Tensor], int]:
        monkeypatch.setattr(architectures, "RECOMPUTE_ABOVE_BYTES", limit)
        passes.clear()
        pixels = image.clone().requires_grad_()
        found = extractor.features(pixels, layers, statistic)
        loss = torch.stack([maps.float().square().mean() for maps in found.values()]).sum()
        return [*found.values(), *torch.autograd.grad(loss, pixels)], len(passes)

    monkeypatch.setattr(F, "conv2d", counted)
    (plain, once), (again, twice) = run(1e12), run(0)
    assert twice > once
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert again[-1].abs().sum() > 0


def test_nothing_is_recomputed_without_a_gradient(
    tiny_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architectures, "RECOMPUTE_ABOVE_BYTES", 0)
    monkeypatch.setattr(extractor_module, "checkpoint", None)
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    extractor.features(torch.rand(1, 3, 8, 8), ["pool2"])
    with torch.no_grad():
        extractor.features(torch.rand(1, 3, 8, 8, requires_grad=True), ["pool2"])


def test_maps_are_freed_when_their_statistic_is_computed(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("torchvision"), normalise=False)
    seen: list[weakref.ref[torch.Tensor]] = []

    def statistic(maps: torch.Tensor) -> torch.Tensor:
        # Only the previous maps and those at the start of the block still exist.
        assert sum(reference() is not None for reference in seen) <= 2
        seen.append(weakref.ref(maps))
        return maps.mean()

    layers = extractor.architecture.layers
    found = extractor.features(torch.rand(1, 3, 8, 8), layers, statistic)
    assert [mean.ndim for mean in found.values()] == [0] * len(layers) == [0] * len(seen)


def test_normalised_filters_have_a_mean_activation_of_one(tiny_weights: MakeWeights) -> None:
    extractor = build_extractor(tiny_weights("caffe-rgb"))
    # The kernels of the normalised network in a plain float64 loop, which shares no code with the extractor.
    maps = torch.from_numpy(np.stack(list(photographs()))).double().permute(0, 3, 1, 2) * 255
    maps -= torch.tensor([123.68, 116.779, 103.939]).double().view(1, 3, 1, 1)
    parameters = iter(zip(extractor.kernels, extractor.biases, strict=True))
    for layer in extractor.architecture.layers:
        if layer.startswith("pool"):
            maps = F.avg_pool2d(maps, 2)
            continue
        kernel, bias = next(parameters)
        maps = F.relu(F.conv2d(maps, kernel.double(), bias.double(), padding=1))
        means = maps.mean((0, 2, 3))
        assert (means > 0).double().mean() > 0.999
        assert (means - 1).abs().max() < 1e-4


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_normalised_maps_are_the_original_ones_up_to_a_scale_per_channel(
    tiny_weights: MakeWeights, pooling: str
) -> None:
    raw = build_extractor(tiny_weights("caffe-rgb"), pooling=pooling, normalise=False)  # type: ignore[arg-type]
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


def test_a_filter_that_is_never_active_keeps_its_scale(tiny_weights: MakeWeights) -> None:
    weights = tiny_weights("torchvision")
    with torch.no_grad():
        weights.biases[0][1] = -1e6
    raw = build_extractor(weights, normalise=False)
    normalised = normalise_activations(raw)
    assert mean_activations(raw)[0][1] == 0
    assert torch.equal(normalised.kernels[0][1], raw.kernels[0][1])
    assert normalised.biases[0][1] == raw.biases[0][1]
    assert all(torch.isfinite(kernel).all() for kernel in normalised.kernels)


def test_share_near_one_uses_average_pooling_and_averages_over_layers(
    tiny: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = ([1.0, 1.9, 0.51, 2.1], [0.49, 0.0, 3.0, 1.0], [1.0] * 6)

    def measured(extractor: object) -> list[torch.Tensor]:
        assert extractor.pooling == "average"  # type: ignore[attr-defined]
        return [torch.tensor(layer, dtype=torch.float64) for layer in means]

    monkeypatch.setattr(extractor_module, "mean_activations", measured)
    assert share_near_one(find_weights("tiny", "random")) == pytest.approx((3 / 4 + 1 / 4 + 1) / 3)
