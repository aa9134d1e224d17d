from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from stimgen.images.read import read_image
from stimgen.measure import STATISTICS, DecodedImage
from stimgen.measure.weibull import fit_weibull


def measured(image):
    found = STATISTICS["weibull"].measure(DecodedImage(image), None)
    return found["weibull_beta"], found["weibull_gamma"]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 5), st.floats(1e-3, 10), st.integers(0, 999))
def test_fit_is_scipys_maximum_likelihood(shape, scale, seed):
    values = scale * np.random.default_rng(seed).weibull(shape, 300)
    gamma, _, beta = stats.weibull_min.fit(values, floc=0)
    ours = fit_weibull(values)
    # Its simplex ends a little before the maximum.
    assert ours == pytest.approx((beta, gamma), rel=1e-2)
    likelihoods = [stats.weibull_min.logpdf(values, g, scale=b).sum() for b, g in (ours, (beta, gamma))]
    assert likelihoods[0] >= likelihoods[1] - 1e-9 * abs(likelihoods[1])


def test_parameters_are_recovered():
    values = 0.2 * np.random.default_rng(1).weibull(1.3, 200_000)
    assert fit_weibull(values) == pytest.approx((0.2, 1.3), rel=0.01)


def test_the_gradient_of_gaussian_noise_has_a_rayleigh_distribution():
    """Two independent normal derivatives of SD s: a Weibull distribution of shape 2 and scale s sqrt(2)."""
    noise = 0.5 + 0.1 * np.random.default_rng(2).standard_normal((400, 400))
    spread = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(noise, 1.0, 0, order=1), 1.0, 1).std()
    assert measured(noise) == pytest.approx((spread * 2**0.5, 2), rel=0.02)


def test_contrast_scales_beta_alone():
    image = read_image("skimage:gravel").pixels[:128, :128].astype(np.float64)
    beta, gamma = measured(image)
    assert measured(0.5 * image + 0.1) == pytest.approx((beta / 2, gamma))
    assert 0.5 < gamma < 2


def test_flat_areas_do_not_count():
    image = read_image("skimage:gravel").pixels[:64, :64].astype(np.float64)
    framed = np.pad(image, 40, mode="edge")
    framed[:20] = framed[-20:] = 0.5
    assert measured(framed)[1] > 0.5


def test_constant_images_have_no_distribution():
    assert measured(np.full((9, 8, 3), 0.3, np.float32)) == (None, None)
    assert fit_weibull(np.array([0.2])) == (None, None)
