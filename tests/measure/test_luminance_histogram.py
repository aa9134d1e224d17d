from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from measured_images import grey, images, pairs_of_images
from scipy import stats

from stimgen.measure import STATISTICS, DecodedImage


def entropy(image):
    return STATISTICS["entropy"].measure(DecodedImage(image), None)["entropy"]


def histogram_w1(image, source):
    statistic = STATISTICS["histogram_w1"]
    prepared = statistic.prepare(DecodedImage(source))
    return statistic.measure(DecodedImage(image), prepared)["histogram_w1"]


@settings(deadline=None)
@given(images())
def test_entropy_by_a_plain_loop(image):
    counts = Counter(round(255 * value) for value in grey(image).ravel().tolist())
    total = counts.total()
    expected = -sum(count / total * math.log2(count / total) for count in counts.values())
    assert entropy(image) == pytest.approx(expected, abs=1e-12)
    assert 0 <= entropy(image) <= 8


def test_entropy_of_a_constant_image_is_plus_zero():
    assert str(entropy(np.full((5, 4, 3), 1.0, np.float32))) == "0.0"


def test_values_outside_0_to_1_have_no_entropy():
    with pytest.raises(ValueError, match="entropy needs"):
        entropy(np.array([[1.01]]))


@settings(deadline=None)
@given(pairs_of_images())
def test_histogram_distance_is_scipys(pair):
    image, source = pair
    expected = stats.wasserstein_distance(grey(image).ravel(), grey(source).ravel())
    assert histogram_w1(image, source) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert histogram_w1(source, image) == histogram_w1(image, source)


def test_images_of_another_shape_are_not_compared():
    assert histogram_w1(np.zeros((2, 2)), np.zeros((2, 3))) is None


def test_pixels_inside_masks_are_compared_whatever_their_number():
    rng = np.random.default_rng(1)
    image, source, inside = rng.random((6, 7, 3)), rng.random((6, 7, 3)), rng.random((6, 7)) < 0.6
    statistic = STATISTICS["histogram_w1"]
    prepared = statistic.prepare(DecodedImage(source, inside=inside))
    for mask in (None, inside, ~inside):
        counted = grey(image)[np.ones_like(inside) if mask is None else mask]
        expected = stats.wasserstein_distance(counted, grey(source)[inside])
        found = statistic.measure(DecodedImage(image, inside=mask), prepared)["histogram_w1"]
        assert found == pytest.approx(expected, rel=1e-9)
