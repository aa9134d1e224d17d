from __future__ import annotations

import numpy as np
import pytest
import torch

from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import random_seed
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


def test_activations_keep_their_scale():
    """The expectation over kernels of the mean square stays from layer to layer (He et al. 2015, eq. 9)."""
    noise = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    ratios = []
    for seed in range(8):
        extractor = build_extractor(
            find_weights("vgg16", f"random:{seed}"), normalise=False, deepest="conv1_2"
        )
        maps = extractor.features(noise, ["conv1_1", "conv1_2"])
        # Without the border, where zeros are padded.
        first, second = (maps[layer][:, :, 4:-4, 4:-4].square().mean() for layer in maps)
        ratios.append(float(second / first))
    assert np.mean(ratios) == pytest.approx(1, abs=3 * np.std(ratios) / np.sqrt(len(ratios)) + 0.05)
    assert np.mean(ratios) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(("name", "known"), [("random:4294967295", True), ("random:4294967296", False)])
def test_seeds_have_32_bits(name, known):
    assert (random_seed(name) is not None) == known


@pytest.mark.parametrize("given", ["random:1", None])
def test_the_name_is_taken(tmp_path, given):
    state = {}
    for number, convolution in enumerate(NETWORKS["vgg16"]().convolutions):
        state[f"features.{number}.weight"] = torch.full(convolution.kernel_shape, 0.01)
        state[f"features.{number}.bias"] = torch.zeros(convolution.out_channels)
    torch.save(state, tmp_path / "random.pth")
    with pytest.raises(InputError, match="never trained"):
        import_weights(
            tmp_path / "random.pth", "vgg16", name=given, convention="torchvision", cache_dir=tmp_path
        )
