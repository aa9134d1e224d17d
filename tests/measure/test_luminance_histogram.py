from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_images import grey, images, pairs_of_images
from scipy import stats
from skimage.measure import shannon_entropy

from stimgen.images.read import read_image
from stimgen.measure.histogram import entropy, sorted_luminance
from stimgen.measure.histogram import histogram_w1 as w1_of_sorted


def histogram_w1(image, source):
    return w1_of_sorted(sorted_luminance(image), sorted_luminance(source))


@pytest.mark.parametrize("name", ["brick", "gravel"])
def test_entropy_of_a_grey_file_is_scikit_images(name):
    image = read_image(f"skimage:{name}").pixels
    levels = np.rint(image * 255).astype(np.uint8)
    assert entropy(image) == pytest.approx(shannon_entropy(levels, base=2), rel=1e-12)


def test_entropy_of_a_colour_file_is_that_of_its_rounded_luminance():
    image = read_image("skimage:coffee").pixels
    counts = Counter(round(value) for value in (255 * grey(image)).ravel().tolist())
    assert entropy(image) == pytest.approx(stats.entropy(list(counts.values()), base=2), rel=1e-12)


@settings(deadline=None)
@given(images())
def test_entropy_by_a_plain_loop(image):
    counts = Counter(round(255 * value) for value in grey(image).ravel().tolist())
    total = counts.total()
    expected = -sum(count / total * math.log2(count / total) for count in counts.values())
    assert entropy(image) == pytest.approx(expected, abs=1e-12)
    assert 0 <= entropy(image) <= 8


@pytest.mark.parametrize("levels", [1, 2, 4, 32, 256])
def test_equally_frequent_levels(levels):
    values = np.linspace(0, 255, levels).round() / 255
    assert entropy(np.tile(values.astype(np.float32), (3, 1))) == pytest.approx(math.log2(levels))


def test_entropy_of_a_constant_image_is_plus_zero():
    assert str(entropy(np.full((5, 4, 3), 1.0, np.float32))) == "0.0"


@pytest.mark.parametrize(
    "image",
    [np.array([[np.nan, 1]]), np.array([[1.01]]), np.array([[-0.01]]), np.zeros((0, 3)), np.zeros((2, 2, 4))],
)
def test_what_has_no_entropy(image):
    with pytest.raises(ValueError, match=r"entropy needs|an image has shape"):
        entropy(image)


@settings(deadline=None)
@given(pairs_of_images())
def test_histogram_distance_is_scipys(pair):
    image, source = pair
    expected = stats.wasserstein_distance(grey(image).ravel(), grey(source).ravel())
    assert histogram_w1(image, source) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert histogram_w1(source, image) == histogram_w1(image, source)


@settings(deadline=None)
@given(images(), st.integers(0, 999))
def test_places_do_not_count(image, seed):
    pixels = image.reshape(image.shape[0] * image.shape[1], -1)
    shuffled = np.random.default_rng(seed).permutation(pixels).reshape(image.shape)
    assert histogram_w1(shuffled, image) == 0


def test_histogram_distance_of_photographs_is_scipys():
    brick, gravel = (read_image(f"skimage:{name}").pixels for name in ("brick", "gravel"))
    expected = stats.wasserstein_distance(brick.ravel(), gravel.ravel())
    assert histogram_w1(brick, gravel) == pytest.approx(expected, rel=1e-9)


def test_a_shift_and_the_extremes():
    image = np.random.default_rng(0).random((9, 7))
    assert histogram_w1(image + 0.125, image) == pytest.approx(0.125)
    assert histogram_w1(np.zeros((4, 4)), np.ones((2, 8))) == 1


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3))),
        (np.zeros((0, 2)), np.zeros((0, 2))),
        (np.array([[np.inf, 0]]), np.array([[np.inf, 0]])),
        (np.zeros((1, 2)), np.array([[np.nan, 0]])),
    ],
)
def test_what_cannot_be_compared(image, source):
    with pytest.raises(ValueError, match=r"cannot be compared|needs pixels, all of them finite"):
        histogram_w1(image, source)
