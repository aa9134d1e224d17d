from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stimgen.matching.histogram import match_histogram_exact

SIDES = st.integers(1, 12)
VALUES = st.floats(-1, 2, width=32)
LEVELS = st.sampled_from([np.float32(0), np.float32(0.5), np.float32(1)])


@st.composite
def pairs(draw, elements):
    shape = (draw(SIDES), draw(SIDES), *draw(st.sampled_from([(), (3,)])))
    return tuple(draw(hnp.arrays(np.float32, shape, elements=element)) for element in elements)


def generator():
    return np.random.default_rng(11)


@settings(deadline=None)
@given(pairs([VALUES, VALUES]) | pairs([LEVELS, VALUES]) | pairs([VALUES, LEVELS]) | pairs([LEVELS, LEVELS]))
def test_sorted_values_are_those_of_the_reference(images):
    image, reference = images
    matched = match_histogram_exact(image, reference, generator())
    assert matched.dtype == np.float32
    assert matched.shape == image.shape
    flat, goal = matched.reshape(-1, *image.shape[2:]), reference.reshape(-1, *image.shape[2:])
    np.testing.assert_array_equal(np.sort(flat, axis=0), np.sort(goal, axis=0))


@settings(deadline=None)
@given(pairs([VALUES, VALUES]) | pairs([LEVELS, VALUES]))
def test_order_of_pixels_is_kept(images):
    image, reference = images
    matched = match_histogram_exact(image, reference, generator())
    for channel in range(1 if image.ndim == 2 else 3):
        before = image if image.ndim == 2 else image[..., channel]
        after = matched if image.ndim == 2 else matched[..., channel]
        by_level = [after[before == level] for level in np.unique(before)]
        for lower, upper in itertools.pairwise(by_level):
            assert lower.max() <= upper.min()


def test_ties_follow_the_neighbourhood():
    image = np.zeros((9, 9), np.float32)
    image[:, 5:] = 1
    reference = np.linspace(0, 1, 81, dtype=np.float32).reshape(9, 9)
    matched = match_histogram_exact(image, reference, generator())
    # The dark pixels next to the bright half are the brightest of the dark, and the other way round.
    assert matched[:, 4].min() > matched[:, :4].max()
    assert matched[:, 5].max() < matched[:, 6:].min()


def test_ties_of_a_constant_image_are_random_and_reproducible():
    image = np.full((32, 32), 0.5, np.float32)
    reference = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    first, again = (match_histogram_exact(image, reference, np.random.default_rng(1)) for _ in range(2))
    other = match_histogram_exact(image, reference, np.random.default_rng(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("levels", [1, 256])
def test_the_generator_moves_on_alike_with_and_without_ties(levels):
    rng = generator()
    image = np.arange(256, dtype=np.float32).reshape(16, 16) % levels
    match_histogram_exact(image, image, rng)
    expected = generator()
    expected.permutation(256)
    assert rng.random() == expected.random()


@pytest.mark.parametrize("size", [8, 31, 64])
def test_reference_of_another_size_by_quantiles(size):
    image = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    reference = np.random.default_rng(1).random((size, size), dtype=np.float32) ** 2
    matched = match_histogram_exact(image, reference, generator())
    goal = np.quantile(reference, (np.arange(1024) + 0.5) / 1024, method="hazen")
    np.testing.assert_allclose(np.sort(matched, axis=None), goal, atol=1e-6)
    assert reference.min() <= matched.min()
    assert matched.max() <= reference.max()
