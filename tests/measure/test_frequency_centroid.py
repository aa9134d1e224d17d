from __future__ import annotations

import math

import numpy as np
import pytest
from measured_images import grating
from windowed import by_frequency

from stimgen.measure import STATISTICS, DecodedImage


def centroid(image, side_deg=None):
    found = STATISTICS["frequency_centroid"].measure(DecodedImage(image, side_deg), None)
    return found["frequency_centroid_cpi"], found["frequency_centroid_cpd"]


def test_by_a_plain_loop():
    image = np.random.default_rng(1).random((21, 32))
    powers = list(by_frequency(image))
    mean = sum(math.hypot(down, right) * power for down, right, power in powers) / sum(p for *_, p in powers)
    assert centroid(image, 3.0) == pytest.approx((21 * mean, 7 * mean))


def test_a_grating_has_its_frequency():
    assert centroid(grating(128, 12.3), 4.0) == pytest.approx((12.3, 12.3 / 4), rel=0.01)


def test_white_noise_has_the_mean_radius_of_a_square():
    """(sqrt(2) + ln(1 + sqrt(2))) / 6 of its side."""
    found, _ = centroid(np.random.default_rng(2).random((256, 256)))
    assert found == pytest.approx(256 * (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 6, rel=0.01)


def test_without_power_or_visual_angle():
    assert centroid(np.full((9, 9), 0.2), 1.0) == (None, None)
    assert centroid(np.eye(9))[1] is None
