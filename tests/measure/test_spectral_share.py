from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_images import grating, images
from scipy import fft as scipy_fft

from stimgen.measure.spectral_share import high_frequency_share, orientation_shares
from stimgen.measure.spectrum import power_spectrum

CENTRES = (0, 45, 90, 135)


def shares(image):
    return orientation_shares(power_spectrum(image))


def high(image):
    return high_frequency_share(power_spectrum(image))


def by_loop(image):
    """Return the orientation shares and the high-frequency share by angles, over the whole plane."""
    height, width = image.shape
    power = np.abs(scipy_fft.fft2(image - image.mean())) ** 2
    energy, above, total = dict.fromkeys(CENTRES, 0.0), 0.0, 0.0
    for row in range(height):
        for column in range(width):
            if (row, column) == (0, 0):
                continue
            down = (row if 2 * row < height else row - height) / height
            right = (column if 2 * column < width else column - width) / width
            radius = math.hypot(down, right)
            total += power[row, column]
            above += power[row, column] if radius > 0.25 + 1e-12 else 0
            if radius <= 0.5 + 1e-12:
                # The bars of a wave are perpendicular to it; "up" is against the order of the rows.
                angle = math.degrees(math.atan2(-down, right)) + 90
                energy[45 * round(angle / 45) % 180] += power[row, column]
    return {centre: e / sum(energy.values()) for centre, e in energy.items()}, above / total


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 25), st.integers(2, 25), st.integers(0, 999))
def test_shares_by_a_plain_loop(height, width, seed):
    image = np.random.default_rng(seed).random((height, width))
    orientation, above = by_loop(image)
    assert shares(image) == pytest.approx(orientation, rel=1e-9)
    assert high(image) == pytest.approx(above, rel=1e-9)


@settings(deadline=None)
@given(images())
def test_shares_sum_to_1_or_are_not_defined(image):
    values = shares(image)
    assert tuple(values) == CENTRES
    if None in values.values():
        assert set(values.values()) == {None}
    else:
        assert sum(values.values()) == pytest.approx(1)
        assert all(0 <= value <= 1 for value in values.values())
    above = high(image)
    assert (above is None) == (not power_spectrum(image).power.any())
    assert above is None or 0 <= above <= 1


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("degrees", [0, 30, 45, 100, 135])
def test_gratings_of_any_orientation(degrees, size):
    """Whole cycles next to the wanted angle; bars at angle a have the wave vector (-sin a, cos a), y up."""
    right = round(-16 * math.sin(math.radians(degrees)))
    up = round(16 * math.cos(math.radians(degrees)))
    rows, columns = np.mgrid[:size, :size]
    image = 0.5 + 0.1 * np.sin(2 * np.pi * (right * columns - up * rows) / size)
    band = 45 * round(degrees / 45) % 180
    assert shares(image)[band] == pytest.approx(1)


@pytest.mark.parametrize(("cycles", "share"), [(16, 0), (17, 1), (32, 1)])
def test_frequencies_above_half_of_nyquists(cycles, share):
    image = grating(64, cycles) if cycles < 32 else np.tile([0.25, 0.75], (64, 32))
    assert high(image) == pytest.approx(share, abs=1e-12)


def test_constant_images_have_no_shares():
    image = np.full((9, 8, 3), 0.3, np.float32)
    assert set(shares(image).values()) == {None}
    assert high(image) is None
