from __future__ import annotations

import numpy as np
import pytest
from control_images import SEEDS, photograph, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

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


def test_colours_lie_on_one_line():
    source = photograph("coffee", 97, 64)
    image = noise(source, np.random.default_rng(1)).astype(np.float64)
    mean, sd = moments(source)
    fields = (image - mean) / sd
    np.testing.assert_allclose(fields[..., 1:], fields[..., :1].repeat(2, axis=2), atol=1e-5)


def test_white_noise_is_gaussian():
    image = noise(photograph("brick", 256, 256), np.random.default_rng(5), alpha=0.0)
    assert abs(stats.skew(image, axis=None)) < 0.03
    assert abs(stats.kurtosis(image, axis=None)) < 0.06
