from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_images import crops_of_noise, grating, images
from windowed import by_frequency

from stimgen.measure import DecodedImage
from stimgen.measure.spectral_share import high_frequency_share, orientation_shares
from stimgen.measure.spectrum import windowed_spectrum

CENTRES = (0, 45, 90, 135)


def shares(image):
    return orientation_shares(DecodedImage(image))


def high(image):
    return high_frequency_share(windowed_spectrum(image))


def by_loop(image):
    """Return the orientation shares and the high-frequency share, frequency by frequency."""
    energy, above, total = dict.fromkeys(CENTRES, 0.0), 0.0, 0.0
    for down, right, power in by_frequency(image):
        radius = math.hypot(down, right)
        total += power
        above += power if radius > 0.25 + 1e-12 else 0
        if radius * min(image.shape) >= 2 - 1e-9 and radius <= 0.5 + 1e-12:
            # The bars of a wave are perpendicular to it; "up" is against the order of the rows.
            angle = math.degrees(math.atan2(-down, right)) + 90
            energy[45 * round(angle / 45) % 180] += power * radius**2
    return {centre: e / sum(energy.values()) for centre, e in energy.items()}, above / total


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 25), st.integers(8, 25), st.integers(0, 999))
def test_shares_by_a_plain_loop(height, width, seed):
    image = np.random.default_rng(seed).random((height, width))
    orientation, above = by_loop(image)
    assert shares(image) == pytest.approx(orientation, rel=1e-9)
    assert high(image) == pytest.approx(above, rel=1e-9)


@pytest.mark.parametrize(("alpha", "sd"), [(0.5, 0.02), (1.0, 0.02), (1.5, 0.02), (2.0, 0.06)])
def test_isotropic_noise_has_a_quarter_in_each_band(alpha, sd):
    measured = np.array([list(shares(crop).values()) for crop in crops_of_noise(alpha)])
    np.testing.assert_allclose(measured.mean(axis=0), 0.25, atol=0.02)
    assert (measured.std(axis=0) < sd).all()


@pytest.mark.parametrize("levels", [None, 255])
@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135])
def test_a_ramp_is_in_its_own_band(degrees, levels):
    rows, columns = np.mgrid[:128, :128] / 128
    ramp = -columns * math.sin(math.radians(degrees)) - rows * math.cos(math.radians(degrees))
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    found = shares(np.rint(ramp * levels) / levels if levels else ramp)
    assert found[45 * round(degrees / 45) % 180] == pytest.approx(1, abs=0.01)


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
    assert (above is None) == (not windowed_spectrum(image).power.any())
    assert above is None or 0 <= above <= 1


@pytest.mark.parametrize("cycles", [10, 16.4, 25])
@pytest.mark.parametrize("degrees", [0, 35, 45, 100, 135])
def test_gratings_of_any_orientation(degrees, cycles):
    """Bars at angle a have the wave vector (-sin a, cos a), y up; cycles need not be whole."""
    right, up = -cycles * math.sin(math.radians(degrees)), cycles * math.cos(math.radians(degrees))
    rows, columns = np.mgrid[:64, :64]
    image = 0.5 + 0.1 * np.sin(2 * np.pi * (right * columns - up * rows) / 64)
    band = 45 * round(degrees / 45) % 180
    assert shares(image)[band] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("cycles", "share"), [(13, 0), (19, 1), (32, 1)])
def test_frequencies_above_half_of_nyquists(cycles, share):
    image = grating(64, cycles) if cycles < 32 else np.tile([0.25, 0.75], (64, 32))
    assert high(image) == pytest.approx(share, abs=0.01)


def test_constant_images_have_no_shares():
    image = np.full((9, 8, 3), 0.3, np.float32)
    assert set(shares(image).values()) == {None}
    assert high(image) is None
