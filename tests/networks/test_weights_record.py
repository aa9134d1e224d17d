from __future__ import annotations

import numpy as np
import pytest

from stimgen.networks.architectures import NETWORKS, random_seed
from stimgen.networks.weights import find_weights


def test_random_kernels_have_the_variance_of_he_et_al():
    weights = find_weights("alexnet", "random:3")
    steps = NETWORKS["alexnet"]().convolutions
    for step, kernel, bias in zip(steps, weights.kernels, weights.biases, strict=True):
        expected = 2 / (step.in_channels * step.kernel**2)
        # The variance of n normal deviates has a relative SD of sqrt(2 / n).
        assert kernel.var().item() == pytest.approx(expected, rel=5 * np.sqrt(2 / kernel.numel()))
        assert kernel.mean().item() == pytest.approx(0, abs=5 * np.sqrt(expected / kernel.numel()))
        assert not bias.any()


def test_same_seed_gives_same_random_weights(tiny):
    first, again, other = (find_weights("tiny", name) for name in ("random", "random:0", "random:1"))
    assert first.tensors_sha256 == again.tensors_sha256 != other.tensors_sha256
    assert first.name == "random:0"


@pytest.mark.parametrize(("name", "known"), [("random:4294967295", True), ("random:4294967296", False)])
def test_random_seeds_have_32_bits(name, known):
    assert (random_seed(name) is not None) == known
