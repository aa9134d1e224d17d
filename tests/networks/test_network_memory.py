from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from stimgen.networks import memory
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.memory import evaluation_bytes, recomputes
from stimgen.networks.weights import Weights
from stimgen.texture.statistics.gram import gram_matrix

LADDER = ("conv1_1", "pool1", "pool2", "pool3", "pool4")


@pytest.fixture
def vgg16() -> Any:
    return NETWORKS["vgg16"]()


def test_recomputation_begins_with_images_larger_than_2048_px(vgg16: Any) -> None:
    assert not recomputes(vgg16, LADDER, 2048, 4)
    assert recomputes(vgg16, LADDER, 3072, 4)
    assert not recomputes(vgg16, LADDER, 3072, 2)
    assert not recomputes(vgg16, ("conv1_1",), 4096, 4)


# Peaks that PyTorch's profiler reports at 512 px, in bytes per pixel.
@pytest.mark.parametrize(
    ("pooling", "item_bytes", "recomputed", "measured"),
    [
        ("average", 4, False, 1249),
        ("max", 4, False, 1473),
        ("average", 2, False, 993),
        ("average", 4, True, 1036),
        ("max", 4, True, 1036),
        ("average", 2, True, 774),
    ],
)
def test_estimates_agree_with_measured_peaks(
    vgg16: Any,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
    item_bytes: int,
    recomputed: bool,
    measured: float,
) -> None:
    monkeypatch.setattr(memory, "RECOMPUTE_ABOVE_BYTES", 0 if recomputed else 1e12)
    estimated = evaluation_bytes(vgg16, LADDER, 512, pooling=pooling, item_bytes=item_bytes) / 512**2
    assert estimated == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_what_autograd_keeps_is_what_is_counted(
    oxford: Weights, vgg16: Any, monkeypatch: pytest.MonkeyPatch, pooling: Any
) -> None:
    extractor = build_extractor(oxford, pooling=pooling, normalise=False, deepest="pool2")
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    layers = ("conv1_1", "pool1", "pool2")
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        extractor.features(image, layers, gram_matrix)
    counted = 4 * vgg16.activation_floats(layers, 64)
    counted += 8 * (64 * 32**2 + 128 * 16**2) if pooling == "max" else 0
    kernels = sum(kernel.nbytes for kernel in extractor.kernels)
    assert sum(kept.values()) == pytest.approx(counted + kernels, rel=0.01)
    assert evaluation_bytes(vgg16, layers, 64, pooling=pooling) >= counted
