from __future__ import annotations

import numpy as np
import pytest
from measured_networks import LAYERS, numpy_gram, small_extractor

from stimgen.measure.gram_distance import GramScale
from stimgen.measure.gram_scale import gram_scales
from stimgen.texture.statistics.gram import gram_matrices as analyse
from stimgen.texture.tensors import to_batch


@pytest.fixture(scope="module")
def extractor():
    return small_extractor()


def scales(extractor, source, scrambled):
    return gram_scales(extractor, source, scrambled, analyse(extractor, to_batch([source], "cpu"), LAYERS))


def relative(difference, target):
    return np.sqrt((difference**2).sum() / (target**2).sum())


@pytest.mark.parametrize("shape", [(16, 16), (17, 15, 3)], ids=["even, grey", "odd, rgb"])
def test_floor_and_ceiling_are_those_of_the_formulas_in_float64(extractor, shape):
    rng = np.random.default_rng(2)
    source = rng.random(shape, np.float32) * np.linspace(0.3, 1, shape[1], dtype=np.float32).reshape(
        1, -1, *[1] * (len(shape) - 2)
    )
    scrambled = [rng.random(shape, np.float32) for _ in range(2)]
    height, width = shape[0] // 2, shape[1] // 2
    halves = [
        (source[:, :width], source[:, shape[1] - width :]),
        (source[:height], source[shape[0] - height :]),
    ]
    for scale, layer in zip(scales(extractor, source, scrambled), LAYERS, strict=True):
        target = numpy_gram(extractor, source, layer)
        between = [
            relative(numpy_gram(extractor, one, layer) - numpy_gram(extractor, other, layer), target)
            for one, other in halves
        ]
        above = [relative(numpy_gram(extractor, image, layer) - target, target) for image in scrambled]
        assert scale.layer == layer
        assert scale.floor == pytest.approx(np.mean(between), rel=1e-3)
        assert scale.ceiling == pytest.approx(np.mean(above), rel=1e-3)


def test_a_half_that_is_too_small_for_a_layer_gives_no_floor(extractor):
    source = np.random.default_rng(0).random((4, 6), np.float32)
    found = {scale.layer: scale.floor for scale in scales(extractor, source, [source])}
    assert found["pool2"] is None
    assert found["pool1"] is not None
    assert GramScale("pool2", None, 1.0).normalised(0.5) is None


def test_the_ends_of_the_scale_are_0_and_1():
    scale = GramScale("pool1", 0.25, 0.75)
    assert [scale.normalised(d) for d in (0.0, 0.25, 0.5, 0.75, 1.0)] == [-0.5, 0, 0.5, 1, 1.5]


@pytest.mark.parametrize("ceiling", [0.49, 0.25, 0.2])
def test_without_room_between_floor_and_ceiling_there_is_no_number(ceiling):
    assert GramScale("pool1", 0.25, ceiling).normalised(0.5) is None
