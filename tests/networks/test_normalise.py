from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stimgen.networks.normalise import mean_activations, normalise_activations, photographs

from stimgen.errors import StimgenError
from stimgen.networks import normalise
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import Weights


@pytest.mark.parametrize("size", [64, pytest.param(256, marks=pytest.mark.slow)])
def test_mean_activations_of_vgg16_are_one_in_an_independent_float64_network(
    oxford: Weights, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = (256 - size) // 2
    pixels = np.stack(list(photographs()))[:, start : start + size, start : start + size]
    monkeypatch.setattr(normalise, "photographs", lambda: iter(pixels))
    extractor = build_extractor(oxford)
    assert len(extractor.kernels) == 13
    # The normalised network's own kernels in a plain float64 loop: it shares no code with what is tested.
    maps = torch.from_numpy(pixels).double().permute(0, 3, 1, 2) * 255
    maps -= torch.tensor([123.68, 116.779, 103.939]).double().view(1, 3, 1, 1)
    for layer, (kernel, bias) in enumerate(zip(extractor.kernels, extractor.biases, strict=True)):
        if layer in (2, 4, 7, 10):
            maps = F.avg_pool2d(maps, 2)
        maps = F.relu(F.conv2d(maps, kernel.double(), bias.double(), padding=1))
        means = maps.mean((0, 2, 3))
        # On small crops some deep filters are never active; on the whole photographs all are.
        assert (means > 0).double().mean() > (0.85 if size < 256 else 0.999)
        # In float32, and of few positions, a mean has as few digits as what it sums has.
        assert (means[means > 0] - 1).abs().max() < (2e-4 if size < 256 else 1e-4)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_the_function_is_preserved_up_to_a_scale_per_channel(oxford: Weights, pooling: str) -> None:
    raw = build_extractor(oxford, pooling=pooling, normalise=False, deepest="pool2")  # type: ignore[arg-type]
    normalised = normalise_activations(raw)
    scales = mean_activations(raw)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    layers = raw.architecture.layers
    before, after = raw.features(image, layers), normalised.features(image, layers)
    convolution = -1
    for layer in layers:
        convolution += layer.startswith("conv")
        expected = before[layer].double() / scales[convolution].view(1, -1, 1, 1)
        assert (after[layer] - expected).norm() / expected.norm() < 1e-5, layer


def test_a_filter_that_is_never_active_keeps_its_scale(tiny_weights: Callable[[str], Weights]) -> None:
    weights = tiny_weights("torchvision")
    with torch.no_grad():
        weights.biases[0][1] = -1e6
    raw = build_extractor(weights, normalise=False)
    normalised = normalise_activations(raw)
    assert mean_activations(raw)[0][1] == 0
    assert torch.equal(normalised.kernels[0][1], raw.kernels[0][1])
    assert normalised.biases[0][1] == raw.biases[0][1]
    means = mean_activations(normalised)
    assert all(torch.isfinite(kernel).all() for kernel in normalised.kernels)
    active = means[0] != 0
    torch.testing.assert_close(means[0][active], torch.ones(3, dtype=torch.float64), rtol=1e-5, atol=0)


def test_the_original_extractor_is_unchanged(tiny_weights: Callable[[str], Weights]) -> None:
    raw = build_extractor(tiny_weights("torchvision"), normalise=False)
    before = [tensor.clone() for tensor in (*raw.kernels, *raw.biases)]
    normalise_activations(raw)
    assert all(map(torch.equal, before, (*raw.kernels, *raw.biases)))


def test_photographs_are_fixed() -> None:
    pictures = list(photographs())
    assert len(pictures) == len(normalise.PHOTOGRAPHS) == 6
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert {picture.dtype for picture in pictures} == {np.dtype(np.float32)}
    assert all(picture.min() >= 0 and 0.5 < picture.max() <= 1 for picture in pictures)
    # The photograph of 512 px is halved by area.
    from skimage.io import imread

    original = imread(normalise._photograph_folder() / "astronaut.png")[..., :3] / 255
    halved = original.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(pictures[0] - halved).max() <= 1.01 / 255


def test_a_changed_or_missing_photograph_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in normalise.PHOTOGRAPHS:
        shutil.copy(normalise._photograph_folder() / name, tmp_path)
    monkeypatch.setattr(normalise, "_photograph_folder", lambda: tmp_path)
    shutil.copy(tmp_path / "coffee.png", tmp_path / "chelsea.png")
    with pytest.raises(StimgenError, match=r"chelsea.png is not the photograph(.|\n)*reinstall"):
        list(photographs())
    (tmp_path / "camera.png").unlink()
    with pytest.raises(StimgenError, match=r"lacks .*camera.png"):
        list(photographs())


def test_low_precision_is_refused(tiny_weights: Callable[[str], Weights]) -> None:
    half = build_extractor(tiny_weights("torchvision"), normalise=False, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"float32 or better, not torch\.bfloat16"):
        normalise_activations(half)
