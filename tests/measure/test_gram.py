from __future__ import annotations

import numpy as np
import pytest
from measured_networks import LAYERS, numpy_gram, small_extractor

from stimgen.measure import DecodedImage
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


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_mask_weights_the_positions_of_each_layer(extractor, channels):
    """G = Σ w F Fᵀ / Σ w in float64; whole images are compared with it, and images inside the mask."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((16, 16)) - 7.5
    inside = np.hypot(rows, columns) < 6.2
    source, image = rng.random((2, 16, 16, *channels), np.float32) * rng.random(
        (16, *[1] * len(channels)), np.float32
    )
    grams = source_grams(extractor, source, LAYERS, (), inside)
    for mask in (None, inside):
        found = gram_columns(DecodedImage(image, inside=mask), grams)
        for layer in LAYERS:
            target = numpy_gram(extractor, source, layer, inside)
            difference = numpy_gram(extractor, image, layer, mask) - target
            assert found[f"gram_relative_{layer}"] == pytest.approx(relative(difference, target), rel=1e-4)
            for name in ("floor", "ceiling", "normalised"):
                assert found[f"gram_{name}_{layer}"] is None
    same = gram_columns(DecodedImage(source, inside=inside), grams)
    assert all(same[f"gram_relative_{layer}"] < 1e-6 for layer in LAYERS)


def test_a_half_that_is_too_small_for_a_layer_gives_no_floor(extractor):
    source = np.random.default_rng(0).random((4, 6), np.float32)
    found = gram_columns(DecodedImage(source), source_grams(extractor, source, LAYERS, [source]))
    assert [found[f"gram_relative_{layer}"] for layer in LAYERS] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["gram_floor_pool2"] is found["gram_normalised_pool2"] is None
    assert found["gram_floor_pool1"] is not None


def test_without_a_source_there_are_no_columns():
    assert gram_columns(DecodedImage(np.zeros((8, 8))), None) == {}


def test_the_scale_goes_from_0_to_1_if_it_has_room():
    scale = GramScale(0.25, 0.75)
    assert [scale.normalised(d) for d in (0.0, 0.25, 0.5, 0.75, 1.0)] == [-0.5, 0, 0.5, 1, 1.5]
    assert [GramScale(0.25, ceiling).normalised(0.5) for ceiling in (0.49, 0.25, 0.2)] == [None] * 3
