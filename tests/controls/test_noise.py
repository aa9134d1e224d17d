from __future__ import annotations

import numpy as np
import pytest
from control_images import SEEDS, WHOLE, masked, photograph, sources
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
@given(sources(st.integers(8, 24)), ALPHAS, SEEDS)
def test_mean_and_sd_of_each_channel_are_those_of_the_source(source, alpha, seed):
    image = noise(source, np.random.default_rng(seed), WHOLE, alpha=alpha)
    assert image.shape == source.shape
    assert np.isfinite(image).all()
    # What float32 can hold.
    np.testing.assert_allclose(moments(image), moments(source), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_slope_is_alpha(alpha, seed):
    source = photograph("brick", 512, 512)
    image = noise(source, np.random.default_rng(seed), WHOLE, alpha=alpha)
    slope = spectral_slope(power_spectrum(image), 2, 128)
    assert slope.alpha == pytest.approx(alpha, abs=0.02)
    assert alpha == 0 or slope.r_squared > 0.999


@pytest.mark.parametrize("seed", [1, 2])
def test_covariance_of_the_channels_is_that_of_the_source(seed):
    source = photograph("coffee", 97, 64)
    image = noise(source, np.random.default_rng(seed), WHOLE).astype(np.float64)
    expected = np.cov(source.reshape(-1, 3).astype(np.float64).T)
    np.testing.assert_allclose(np.cov(image.reshape(-1, 3).T), expected, atol=1e-6)


def test_channels_that_are_opposite_stay_opposite_and_grey_stays_grey():
    plane = photograph("brick", 64, 64)
    image = noise(np.stack([plane, 1 - plane, plane], axis=2), np.random.default_rng(1), WHOLE).astype(
        np.float64
    )
    assert np.corrcoef(image[..., 0].ravel(), image[..., 1].ravel())[0, 1] == pytest.approx(-1)
    np.testing.assert_allclose(image[..., 0], image[..., 2], atol=1e-6)


def test_white_noise_is_gaussian():
    image = noise(photograph("brick", 256, 256), np.random.default_rng(5), WHOLE, alpha=0.0)
    assert abs(stats.skew(image, axis=None)) < 0.03
    assert abs(stats.kurtosis(image, axis=None)) < 0.06


def test_mean_and_covariance_of_a_source_with_a_mask_are_those_inside():
    source, of_mask = masked(photograph("coffee", 64, 64))
    image = noise(source, np.random.default_rng(1), of_mask).astype(np.float64).reshape(-1, 3)
    inside = source[of_mask.inside].astype(np.float64)
    np.testing.assert_allclose(image.mean(axis=0), inside.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.cov(image.T, bias=True), np.cov(inside.T, bias=True), atol=1e-6)
