from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from measured_images import grey
from scipy import stats

from stimgen.images.read import read_image
from stimgen.measure import DecodedImage
from stimgen.measure.luminance import luminance_statistics


def measured(image):
    """Return the columns by the ends of their names: mean, sd, contrast, skewness, kurtosis, min, max."""
    return {
        name.rpartition("_")[2]: value for name, value in luminance_statistics(DecodedImage(image)).items()
    }


@pytest.mark.parametrize("name", ["brick", "gravel", "coffee", "page"])
def test_moments_are_scipys(name):
    image = read_image(f"skimage:{name}").pixels
    flat = grey(image).ravel()
    found = measured(image)
    assert found["mean"] == pytest.approx(math.fsum(flat) / flat.size, rel=1e-12)
    assert found["sd"] == pytest.approx(np.sqrt(np.mean(flat**2) - np.mean(flat) ** 2), rel=1e-9)
    assert found["contrast"] == pytest.approx(found["sd"] / found["mean"], rel=1e-12)
    assert found["skewness"] == pytest.approx(stats.skew(flat), rel=1e-9)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(flat, fisher=False), rel=1e-9)
    assert (found["min"], found["max"]) == pytest.approx((flat.min(), flat.max()), rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1.0])
def test_constant_image(value):
    found = measured(np.full((17, 13), value, np.float32))
    assert (found["sd"], found["contrast"], found["skewness"], found["kurtosis"]) == (0, 0, None, None)
    assert found["mean"] == found["min"] == found["max"] == float(np.float32(value))


def test_black_image():
    found = measured(np.zeros((8, 8, 3), np.float32))
    assert (found["mean"], found["contrast"]) == (0, None)


@settings(deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1, width=32)))
def test_nothing_is_nan(image):
    for value in measured(image).values():
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize(
    "image", [np.array([[np.nan, 1]]), np.zeros((0, 3)), np.zeros((2, 2, 4)), np.zeros(4)]
)
def test_arrays_that_are_no_images_are_refused(image):
    with pytest.raises(ValueError, match=r"statistics need|an image has shape"):
        measured(image)
