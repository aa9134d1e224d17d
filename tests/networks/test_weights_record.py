from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.catalogue import random_seed
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights


def test_random_kernels_have_the_variance_of_he_et_al() -> None:
    weights = find_weights("alexnet", "random:3")
    steps = NETWORKS["alexnet"]().convolutions
    for step, kernel, bias in zip(steps, weights.kernels, weights.biases, strict=True):
        expected = 2 / (step.in_channels * step.kernel**2)
        # The variance of n normal deviates has a relative SD of sqrt(2 / n).
        assert kernel.var().item() == pytest.approx(expected, rel=5 * np.sqrt(2 / kernel.numel()))
        assert kernel.mean().item() == pytest.approx(0, abs=5 * np.sqrt(expected / kernel.numel()))
        assert not bias.any()


def test_same_seed_gives_same_random_weights(tiny: Architecture) -> None:
    first, again, other = (find_weights("tiny", name) for name in ("random", "random:0", "random:1"))
    assert first.tensors_sha256 == again.tensors_sha256 != other.tensors_sha256
    assert first.name == "random:0"


def test_activations_of_random_networks_keep_their_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expectation over kernels of the mean square stays from layer to layer (He et al. 2015, eq. 9)."""
    vgg16 = NETWORKS["vgg16"]()
    short = replace(vgg16, steps=vgg16.upto("conv1_2"))
    monkeypatch.setitem(NETWORKS._entries, "short", lambda: short)
    noise = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    ratios = []
    for seed in range(8):
        extractor = build_extractor(find_weights("short", f"random:{seed}"), normalise=False)
        maps = extractor.features(noise, ["conv1_1", "conv1_2"])
        # Without the border, where zeros are padded.
        first, second = (maps[layer][:, :, 4:-4, 4:-4].square().mean() for layer in maps)
        ratios.append(float(second / first))
    assert np.mean(ratios) == pytest.approx(1, abs=min(3 * np.std(ratios) / np.sqrt(8) + 0.05, 0.3))


@pytest.mark.parametrize(("name", "known"), [("random:4294967295", True), ("random:4294967296", False)])
def test_random_seeds_have_32_bits(name: str, known: bool) -> None:
    assert (random_seed(name) is not None) == known
