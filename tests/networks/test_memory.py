from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from stimgen.networks import architectures
from stimgen.networks.architectures import NETWORKS, evaluation_bytes, recomputes
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.statistics.gram import gram_matrix

LADDER = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
VGG16 = NETWORKS["vgg16"]()


def test_recomputation_begins_with_images_larger_than_2048_px() -> None:
    assert not recomputes(VGG16, LADDER, 2048, 4)
    assert recomputes(VGG16, LADDER, 3072, 4)
    assert not recomputes(VGG16, LADDER, 3072, 2)
    assert not recomputes(VGG16, ("conv1_1",), 4096, 4)


# Peaks that PyTorch's profiler reports at 512 px, in bytes per pixel.
@pytest.mark.parametrize(
    ("pooling", "item_bytes", "recomputed", "measured"),
    [
        ("average", 4, False, 1249),
        ("max", 4, False, 1473),
        ("average", 4, True, 1036),
        ("average", 2, True, 774),
    ],
)
def test_estimates_agree_with_measured_peaks(
    monkeypatch: pytest.MonkeyPatch, pooling: str, item_bytes: int, recomputed: bool, measured: float
) -> None:
    monkeypatch.setattr(architectures, "RECOMPUTE_ABOVE_BYTES", 0 if recomputed else 1e12)
    estimated = evaluation_bytes(VGG16, LADDER, 512, pooling=pooling, item_bytes=item_bytes) / 512**2
    assert estimated == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(
    ("network", "size_px", "pools"),
    [
        ("tiny", 64, {"pool1": 4 * 32**2, "pool2": 6 * 16**2}),
        ("alexnet", 128, {"pool1": 64 * 15**2, "pool2": 192 * 7**2, "pool5": 256 * 3**2}),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_memory_that_autograd_keeps_is_what_is_counted(
    network: str, size_px: int, pools: dict[str, int], pooling: Any
) -> None:
    extractor = build_extractor(find_weights(network, "random"), pooling=pooling, normalise=False)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    architecture, layers = extractor.architecture, (extractor.architecture.layers[0], *pools)
    image = torch.rand(1, 3, size_px, size_px, requires_grad=True)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        extractor.features(image, layers, gram_matrix)
    counted = 4 * architecture.activation_floats(layers, size_px)
    counted += 8 * sum(pools.values()) if pooling == "max" else 0
    kernels = sum(kernel.nbytes for kernel in extractor.kernels)
    assert sum(kept.values()) == pytest.approx(counted + kernels, rel=0.02)
    assert evaluation_bytes(architecture, layers, size_px, pooling=pooling) >= counted
