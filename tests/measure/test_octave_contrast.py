from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_images import crops_of_noise, grating
from windowed import by_frequency

from stimgen.measure import STATISTICS, DecodedImage


def contrasts(image):
    found = STATISTICS["octave_contrast"].measure(DecodedImage(image), None)
    return {int(name.rpartition("_")[2]): value for name, value in found.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 999))
def test_by_a_plain_loop(height, width, seed):
    image = 0.2 + np.random.default_rng(seed).random((height, width))
    for centre, found in contrasts(image).items():
        if 4 * centre > min(height, width):
            assert found is None
            continue
        total = 0.0
        for down, right, power in by_frequency(image):
            octave = math.log2(math.hypot(down, right) * min(height, width) / centre)
            total += power * (0.5 + 0.5 * math.cos(math.pi * octave)) ** 2 if abs(octave) < 1 else 0
        assert found == pytest.approx(math.sqrt(total) / image.mean(), rel=1e-9)


@pytest.mark.parametrize(("cycles", "seen"), [(4, 0.946), (8, 0.992), (16, 1), (32, 1)])
def test_a_grating_has_its_contrast_in_its_octave(cycles, seen):
    """Contrast 0.4, and so an RMS contrast of 0.4 / sqrt(2)."""
    found = contrasts(grating(256, cycles, amplitude=0.2))
    assert found[cycles] == pytest.approx(seen * 0.4 / math.sqrt(2), rel=0.002)
    assert found[4 if cycles == 32 else 64] < 0.01


def test_noise_with_equal_power_per_octave_has_equal_contrast_in_each():
    """Amplitude 1 / frequency."""
    images = [0.5 + 0.1 * crop / crop.std() for crop in crops_of_noise(1.0)]
    octaves = np.mean([[contrasts(image)[centre] ** 2 for centre in (4, 8, 16, 32)] for image in images], 0)
    np.testing.assert_allclose(octaves / octaves.mean(), 1, atol=0.1)


def test_black_images_have_none():
    assert set(contrasts(np.zeros((64, 64))).values()) == {None}
