from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matched_images import images as drawn_images

from stimgen.errors import StimgenError
from stimgen.matching.histogram import match_histogram_exact, match_luminance

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
def test_values_are_those_of_the_reference_in_the_order_of_the_image(images):
    image, reference = images
    matched = match_histogram_exact(image, reference, generator())
    assert (matched.dtype, matched.shape) == (np.float32, image.shape)
    planes = [x.reshape(image.shape[0] * image.shape[1], -1).T for x in (image, matched, reference)]
    for before, after, goal in zip(*planes, strict=True):
        np.testing.assert_array_equal(np.sort(after), np.sort(goal))
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


PLANES = st.tuples(st.integers(1, 16), st.integers(1, 16)).flatmap(drawn_images)


@given(PLANES, st.floats(-1, 2), st.floats(0, 1))
def test_mean_and_sd_are_those_asked_for(plane, mean, sd):
    if np.ptp(plane) == 0 and sd > 0:
        with pytest.raises(StimgenError, match="constant image, or channel of one, has no contrast"):
            match_luminance(plane, mean, sd)
        return
    matched = match_luminance(plane, mean, sd)
    assert np.mean(matched) == pytest.approx(mean, abs=1e-9)
    assert np.sqrt(np.mean((matched - np.mean(matched)) ** 2)) == pytest.approx(sd, abs=1e-9)
