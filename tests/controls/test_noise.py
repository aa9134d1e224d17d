from __future__ import annotations

import numpy as np
import pytest
from control_images import SEEDS, photograph, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from stimgen.controls.noise import noise
from stimgen.measure.slope import spectral_slope
from stimgen.measure.spectrum import power_spectrum

ALPHAS = st.floats(0, 4)


def moments(image):
    values = image.astype(np.float64)
    return values.mean(axis=(0, 1)), values.std(axis=(0, 1))


@settings(deadline=None)
@given(sources(), ALPHAS, SEEDS)
def test_mean_and_sd_of_each_channel_are_those_of_the_source(source, alpha, seed):
    image = noise(source, np.random.default_rng(seed), alpha=alpha)
    assert image.shape == source.shape
    assert np.isfinite(image).all()
    # What float32 can hold.
    np.testing.assert_allclose(moments(image), moments(source), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_slope_is_alpha(alpha, seed):
    source = photograph("brick", 512, 512)
    image = noise(source, np.random.default_rng(seed), alpha=alpha)
    slope = spectral_slope(power_spectrum(image), 2, 128)
    assert slope.alpha == pytest.approx(alpha, abs=0.02)
    assert alpha == 0 or slope.r_squared > 0.999


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 33), st.integers(2, 33), st.floats(0, 2), SEEDS)
def test_amplitudes_follow_the_radius_in_cycles_per_pixel(height, width, alpha, seed):
    source = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    image = noise(source, np.random.default_rng(seed), alpha=alpha).astype(np.float64)
    amplitude = np.abs(fft.fft2(image)).ravel()[1:]
    rows, columns = np.meshgrid(fft.fftfreq(height), fft.fftfreq(width), indexing="ij")
    expected = (rows**2 + columns**2).ravel()[1:] ** (-alpha / 2)
    # The sum of the powers is the variance (Parseval).
    expected *= np.sqrt(source.var(dtype=np.float64) * source.size**2 / np.sum(expected**2))
    np.testing.assert_allclose(amplitude, expected, rtol=1e-4, atol=1e-5)


def test_colours_lie_on_one_line():
    source = photograph("coffee", 97, 64)
    image = noise(source, np.random.default_rng(1)).astype(np.float64)
    mean, sd = moments(source)
    fields = (image - mean) / sd
    np.testing.assert_allclose(fields[..., 1:], fields[..., :1].repeat(2, axis=2), atol=1e-5)
