from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from stimgen.images.read import read_image
from stimgen.measure.luminance import luminance_statistics


@pytest.mark.parametrize("name", ["brick", "gravel", "coffee", "page"])
def test_against_scipy(name):
    image = read_image(f"skimage:{name}").pixels
    values = image.astype(np.float64)
    if values.ndim == 3:
        values = 0.2126 * values[..., 0] + 0.7152 * values[..., 1] + 0.0722 * values[..., 2]
    flat = values.ravel()
    measured = luminance_statistics(image)
    assert measured.mean == pytest.approx(math.fsum(flat) / flat.size, rel=1e-12)
    assert measured.sd == pytest.approx(np.sqrt(np.mean(flat**2) - np.mean(flat) ** 2), rel=1e-9)
    assert measured.rms_contrast == pytest.approx(measured.sd / measured.mean, rel=1e-12)
    assert measured.skewness == pytest.approx(stats.skew(flat), rel=1e-9)
    assert measured.kurtosis == pytest.approx(stats.kurtosis(flat, fisher=False), rel=1e-9)
    assert (measured.minimum, measured.maximum) == pytest.approx((flat.min(), flat.max()), rel=1e-12)


def test_kurtosis_of_a_normal_distribution_is_3():
    image = np.random.default_rng(0).normal(0.5, 0.1, (512, 512)).astype(np.float32)
    measured = luminance_statistics(image)
    assert measured.kurtosis == pytest.approx(3, abs=0.05)
    assert measured.skewness == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1.0])
def test_constant_image(value):
    measured = luminance_statistics(np.full((17, 13), value, np.float32))
    assert (measured.sd, measured.rms_contrast, measured.skewness, measured.kurtosis) == (0, 0, None, None)
    assert measured.mean == measured.minimum == measured.maximum == float(np.float32(value))


def test_black_image():
    measured = luminance_statistics(np.zeros((8, 8, 3), np.float32))
    assert (measured.mean, measured.rms_contrast) == (0, None)


def test_mean_of_zero_has_no_contrast():
    assert luminance_statistics(np.array([[-0.5, 0.5]])).rms_contrast is None


@given(st.floats(0, 0.4), st.floats(0.6, 1), st.floats(0.1, 0.9))
def test_two_valued_image(low, high, share):
    image = np.where(np.arange(400) < round(400 * share), low, high).reshape(20, 20)
    share = round(400 * share) / 400
    measured = luminance_statistics(image)
    assert measured.sd == pytest.approx((high - low) * math.sqrt(share * (1 - share)), rel=1e-6)
    assert measured.skewness == pytest.approx((2 * share - 1) / math.sqrt(share * (1 - share)), abs=1e-6)
    assert measured.kurtosis == pytest.approx(1 / (share * (1 - share)) - 3, rel=1e-6)


@settings(deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1, width=32)))
def test_nothing_is_nan(image):
    for value in asdict(luminance_statistics(image)).values():
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize(
    "image", [np.array([[np.nan, 1]]), np.zeros((0, 3)), np.zeros((2, 2, 4)), np.zeros(4)]
)
def test_what_is_not_an_image(image):
    with pytest.raises(ValueError, match=r"statistics need|an image has shape"):
        luminance_statistics(image)
