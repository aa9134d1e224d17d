from __future__ import annotations

import numpy as np
import pytest
from measured_networks import LAYERS, NETWORK, numpy_gram, small_extractor

from stimgen.measure.gram import gram_distances
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.statistics.gram import gram_matrices as analyse
from stimgen.texture.tensors import to_batch


@pytest.fixture(scope="module")
def extractor():
    return small_extractor()


def numpy_distances(extractor, image, source, layer):
    """Loss and relative distance in float64."""
    difference = numpy_gram(extractor, image, layer) - numpy_gram(extractor, source, layer)
    target = numpy_gram(extractor, source, layer)
    loss = np.sum(difference**2) / (4 * len(target) ** 2)
    return loss, np.sqrt(np.sum(difference**2) / np.sum(target**2))


@pytest.mark.parametrize("shape", [(14, 14), (12, 12, 3)], ids=["grey", "rgb"])
def test_distances_are_those_of_the_formulas_in_float64(extractor, shape):
    rng = np.random.default_rng(2)
    source = rng.random(shape, np.float32)
    near = np.clip(source + 0.05 * rng.standard_normal(shape, np.float32), 0, 1)
    far = rng.random(shape, np.float32) ** 3
    targets = analyse(extractor, to_batch([source], "cpu"), LAYERS)

    measured = gram_distances(extractor, [near, far], targets)

    assert [[distance.layer for distance in image] for image in measured] == [LAYERS, LAYERS]
    for image, distances in zip([near, far], measured, strict=True):
        for distance in distances:
            loss, relative = numpy_distances(extractor, image, source, distance.layer)
            assert distance.gram_loss == pytest.approx(loss, rel=1e-3)
            assert distance.gram_relative == pytest.approx(relative, rel=1e-3)


def test_the_source_is_at_distance_zero_from_itself(extractor):
    source = np.random.default_rng(3).random((16, 16), np.float32)
    targets = analyse(extractor, to_batch([source], "cpu"), LAYERS)

    (distances,) = gram_distances(extractor, [source], targets)

    assert [distance.gram_relative for distance in distances] == pytest.approx([0, 0, 0], abs=1e-6)


def test_measuring_keeps_no_graph_for_gradients(extractor):
    source = np.random.default_rng(4).random((8, 8), np.float32)
    targets = analyse(extractor, to_batch([source], "cpu"), ["pool1"])
    kernels = tuple(kernel.clone().requires_grad_() for kernel in extractor.kernels)
    learning = FeatureExtractor(
        NETWORK, "average", kernels, extractor.biases, extractor.gain, extractor.shift
    )

    (distances,) = gram_distances(learning, [source], targets)

    assert all(isinstance(distance.gram_loss, float) for distance in distances)
    assert all(kernel.grad is None for kernel in kernels)
