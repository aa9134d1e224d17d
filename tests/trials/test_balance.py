from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from stimgen.trials import OptionError
from stimgen.trials.balance import place_one, place_two, side_of


def apart(first, second, side):
    return abs(first[0] - second[0]) >= side or abs(first[1] - second[1]) >= side


@pytest.mark.parametrize(("size_px", "side"), [(4, 2), (5, 2), (7, 3), (9, 4)])
def test_all_pairs_of_places_are_equally_likely(size_px, side):
    places = list(product(range(size_px - side + 1), repeat=2))
    pairs = [(a, b) for a in places for b in places if apart(a, b, side)]
    rng = np.random.default_rng(1)
    counts = Counter(place_two(size_px, side, rng) for _ in range(20 * len(pairs)))
    assert set(counts) <= set(pairs)
    assert chisquare([counts[pair] for pair in pairs]).pvalue > 1e-3


def test_all_places_of_one_patch_are_equally_likely():
    rng = np.random.default_rng(1)
    counts = Counter(place_one(6, 3, rng) for _ in range(1600))
    assert set(counts) == set(product(range(4), repeat=2))
    assert chisquare(list(counts.values())).pvalue > 1e-3


@given(st.integers(1, 40), st.integers(1, 40))
def test_two_patches_fit_into_an_image_of_twice_their_side(size_px, side):
    if any(x >= side for x in range(size_px - side + 1)):
        assert side_of(side, size_px, two=True) == side
        first, second = place_two(size_px, side, np.random.default_rng(size_px))
        assert apart(first, second, side)
    else:
        with pytest.raises(OptionError, match="do not fit"):
            side_of(side, size_px, two=True)


def test_message_names_the_largest_patch():
    with pytest.raises(OptionError, match="Set crop_px to 100 at most"):
        side_of(128, 200, two=True)
    assert side_of(100, 200, two=True) == 100
    with pytest.raises(OptionError, match="Set crop_px to 30 at most"):
        side_of(32, 31)
    assert side_of(None, 31) == 31
