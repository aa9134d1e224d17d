from __future__ import annotations

import numpy as np
import pytest
from control_images import SEEDS, in_order, photograph, pixels, sources
from hypothesis import given, settings

from stimgen.controls.pixel_shuffled import pixel_shuffled
from stimgen.measure.slope import spectral_slope
from stimgen.measure.spectrum import power_spectrum


@settings(deadline=None)
@given(sources(), SEEDS)
def test_pixels_are_the_same_as_wholes(source, seed):
    shuffled = pixel_shuffled(source, np.random.default_rng(seed))
    assert shuffled.shape == source.shape
    np.testing.assert_array_equal(in_order(pixels(shuffled)), in_order(pixels(source)))


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_nothing_else_is_left_of_a_photograph(name):
    source = photograph(name, 128, 127)
    shuffled = pixel_shuffled(source, np.random.default_rng(1))
    assert abs(spectral_slope(power_spectrum(source), 2, 32).alpha) > 0.5
    assert abs(spectral_slope(power_spectrum(shuffled), 2, 32).alpha) < 0.05
    assert abs(np.corrcoef(shuffled.ravel(), source.ravel())[0, 1]) < 0.03 or source.ndim == 3


def test_all_permutations_are_equally_likely():
    source = np.arange(3, dtype=np.float32).reshape(1, 3)
    rng = np.random.default_rng(2)
    seen = [tuple(pixel_shuffled(source, rng).ravel()) for _ in range(1200)]
    counts = np.array([seen.count(order) for order in set(seen)])
    assert len(counts) == 6
    # chi-square, 5 degrees of freedom, p = .001
    assert np.sum((counts - 200) ** 2 / 200) < 20.5
