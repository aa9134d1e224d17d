from __future__ import annotations

import numpy as np
import pytest
from measured_networks import LAYERS, numpy_gram, small_extractor

from stimgen.measure import DecodedImage, gram
from stimgen.measure.gram import GramScale, gram_columns, source_grams


@pytest.fixture(scope="module")
def extractor():
    return small_extractor()


def relative(difference, target):
    return np.sqrt((difference**2).sum() / (target**2).sum())


@pytest.mark.parametrize("shape", [(16, 16), (17, 15, 3)], ids=["even, grey", "odd, rgb"])
def test_columns_follow_the_formulas_in_float64(extractor, shape):
    rng = np.random.default_rng(2)
    ramp = np.linspace(0.3, 1, shape[1], dtype=np.float32).reshape(1, -1, *[1] * (len(shape) - 2))
    source = rng.random(shape, np.float32) * ramp
    scrambled = [rng.random(shape, np.float32) for _ in range(2)]
    near = np.clip(source + 0.05 * rng.standard_normal(shape, np.float32), 0, 1)
    far = rng.random(shape, np.float32) ** 3
    height, width = shape[0] // 2, shape[1] // 2
    halves = [
        (source[:, :width], source[:, shape[1] - width :]),
        (source[:height], source[shape[0] - height :]),
    ]
    grams = source_grams(extractor, source, LAYERS, scrambled)

    for image in (near, far):
        found = gram_columns(DecodedImage(image), grams)
        layers = [name.removeprefix("gram_loss_") for name in found if name.startswith("gram_loss_")]
        assert layers == LAYERS
        for layer in LAYERS:
            target = numpy_gram(extractor, source, layer)
            difference = numpy_gram(extractor, image, layer) - target
            between = [
                relative(numpy_gram(extractor, one, layer) - numpy_gram(extractor, other, layer), target)
                for one, other in halves
            ]
            above = [relative(numpy_gram(extractor, other, layer) - target, target) for other in scrambled]
            loss = np.sum(difference**2) / (4 * len(target) ** 2)
            assert found[f"gram_loss_{layer}"] == pytest.approx(loss, rel=1e-3)
            assert found[f"gram_relative_{layer}"] == pytest.approx(relative(difference, target), rel=1e-3)
            assert found[f"gram_floor_{layer}"] == pytest.approx(np.mean(between), rel=1e-3)
            assert found[f"gram_ceiling_{layer}"] == pytest.approx(np.mean(above), rel=1e-3)
            scale = GramScale(found[f"gram_floor_{layer}"], found[f"gram_ceiling_{layer}"])
            assert found[f"gram_normalised_{layer}"] == scale.normalised(found[f"gram_relative_{layer}"])


def test_a_half_that_is_too_small_for_a_layer_gives_no_floor(extractor):
    source = np.random.default_rng(0).random((4, 6), np.float32)
    found = gram_columns(DecodedImage(source), source_grams(extractor, source, LAYERS, [source]))
    assert [found[f"gram_relative_{layer}"] for layer in LAYERS] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["gram_floor_pool2"] is found["gram_normalised_pool2"] is None
    assert found["gram_floor_pool1"] is not None


def test_equal_images_one_after_the_other_are_measured_once(extractor, monkeypatch):
    grey, other = np.random.default_rng(1).random((2, 16, 16), np.float32)
    grams, measured = source_grams(extractor, other, LAYERS, [other]), []
    first = gram_columns(DecodedImage(grey), grams)
    alone = gram.gram_distances
    monkeypatch.setattr(gram, "gram_distances", lambda *args: measured.append(args) or alone(*args))
    assert gram_columns(DecodedImage(grey.astype(np.float64)), grams) == first
    assert gram_columns(DecodedImage(grey.reshape(8, 32)), grams) != first
    assert gram_columns(DecodedImage(np.nextafter(grey, np.float32(1))), grams) != first
    assert gram_columns(DecodedImage(grey), grams) == first
    assert len(measured) == 3


def test_without_a_source_there_are_no_columns():
    assert gram_columns(DecodedImage(np.zeros((8, 8))), None) == {}


def test_the_scale_goes_from_0_to_1_if_it_has_room():
    scale = GramScale(0.25, 0.75)
    assert [scale.normalised(d) for d in (0.0, 0.25, 0.5, 0.75, 1.0)] == [-0.5, 0, 0.5, 1, 1.5]
    assert [GramScale(0.25, ceiling).normalised(0.5) for ceiling in (0.49, 0.25, 0.2)] == [None] * 3
