from __future__ import annotations

import numpy as np
from control_images import SEEDS, WHOLE, in_order, masked, photograph, pixels, sources
from hypothesis import given, settings

from stimgen.controls.pixel_shuffled import pixel_shuffled


@settings(deadline=None)
@given(sources(), SEEDS)
def test_pixels_are_kept_with_their_colours(source, seed):
    shuffled = pixel_shuffled(source, np.random.default_rng(seed), WHOLE)
    assert shuffled.shape == source.shape
    np.testing.assert_array_equal(in_order(pixels(shuffled)), in_order(pixels(source)))


def test_all_permutations_are_equally_likely():
    source = np.arange(3, dtype=np.float32).reshape(1, 3)
    rng = np.random.default_rng(2)
    seen = [tuple(pixel_shuffled(source, rng, WHOLE).ravel()) for _ in range(1200)]
    counts = np.array([seen.count(order) for order in set(seen)])
    assert len(counts) == 6
    # chi-square, 5 degrees of freedom, p = .001
    assert np.sum((counts - 200) ** 2 / 200) < 20.5


def test_only_pixels_inside_a_mask_move():
    source, of_mask = masked(photograph("coffee", 32, 32))
    shuffled = pixel_shuffled(source, np.random.default_rng(1), of_mask)
    inside = of_mask.inside
    np.testing.assert_array_equal(shuffled[~inside], source[~inside])
    np.testing.assert_array_equal(in_order(shuffled[inside]), in_order(source[inside]))
    assert (shuffled[inside] != source[inside]).any(axis=1).mean() > 0.9
