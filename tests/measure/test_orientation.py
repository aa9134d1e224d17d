from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_images import crops_of_noise
from windowed import by_frequency

from stimgen.measure import DecodedImage
from stimgen.measure.orientation import preferred_orientation


def by_loop(image):
    """Return the preferred orientation and the circular variance, frequency by frequency."""
    resultant, total = 0, 0.0
    for down, right, power in by_frequency(image):
        radius = math.hypot(down, right)
        if radius * min(image.shape) >= 2 - 1e-9 and radius <= 0.5 + 1e-12:
            bars = math.atan2(-down, right) + math.pi / 2
            resultant += power * radius**2 * cmath.exp(2j * bars)
            total += power * radius**2
    return math.degrees(cmath.phase(resultant)) / 2 % 180, 1 - abs(resultant) / total


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 25), st.integers(8, 25), st.integers(0, 999))
def test_by_a_plain_loop(height, width, seed):
    image = np.random.default_rng(seed).random((height, width))
    orientation, variance = preferred_orientation(DecodedImage(image))
    expected, expected_variance = by_loop(image)
    assert math.cos(math.radians(2 * (orientation - expected))) == pytest.approx(1)
    assert variance == pytest.approx(expected_variance)


@pytest.mark.parametrize("degrees", [0, 10, 45, 77, 90, 135, 170])
def test_a_grating_has_its_orientation_and_no_variance(degrees):
    rows, columns = np.mgrid[:64, :64]
    across = -columns * math.sin(math.radians(degrees)) - rows * math.cos(math.radians(degrees))
    orientation, variance = preferred_orientation(DecodedImage(0.5 + 0.2 * np.sin(across)))
    assert abs((orientation - degrees + 90) % 180 - 90) < 0.5
    assert variance < 0.02


def test_two_gratings_at_right_angles_prefer_none():
    wave = 0.2 * np.sin(np.arange(64))
    assert preferred_orientation(DecodedImage(0.5 + wave + wave[:, np.newaxis]))[1] == pytest.approx(1)


def test_isotropic_noise_has_a_variance_near_one():
    assert np.mean([preferred_orientation(DecodedImage(crop))[1] for crop in crops_of_noise(1.0)]) > 0.95


def test_a_constant_image_has_no_orientation():
    assert preferred_orientation(DecodedImage(np.full((9, 8, 3), 0.3, np.float32))) == (None, None)
