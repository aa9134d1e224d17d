from __future__ import annotations

import numpy as np
import pytest

from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights, import_weights


def test_kernels_have_the_variance_of_he_et_al():
    weights = find_weights("vgg19", "random:3")
    for step, kernel, bias in zip(
        NETWORKS["vgg19"]().convolutions, weights.kernels, weights.biases, strict=True
    ):
        expected = 2 / (step.in_channels * 9)
        # The variance of n normal deviates has a relative SD of sqrt(2 / n).
        assert kernel.var().item() == pytest.approx(expected, rel=5 * np.sqrt(2 / kernel.numel()))
        assert kernel.mean().item() == pytest.approx(0, abs=5 * np.sqrt(expected / kernel.numel()))
        assert not bias.any()


def test_the_seed_is_all_that_counts():
    one, again, other = (find_weights("vgg16", name) for name in ("random", "random:0", "random:1"))
    assert one.tensors_sha256 == again.tensors_sha256 != other.tensors_sha256
    assert one.name == "random:0"


def test_activations_keep_their_scale_and_can_be_normalised():
    extractor = build_extractor(find_weights("vgg16", "random"), deepest="pool2")
    assert all(kernel.isfinite().all() for kernel in extractor.kernels)


def test_the_name_is_taken(tmp_path):
    with pytest.raises(InputError, match="never trained"):
        import_weights(tmp_path / "weights.pth", "vgg16", name="random:1")
