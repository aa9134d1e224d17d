from __future__ import annotations

import numpy as np
import pytest
from measured_images import power_law
from scipy import stats

from stimgen.errors import InputError
from stimgen.images.read import read_image
from stimgen.measure import DecodedImage
from stimgen.measure.slope import slope_columns, spectral_slope
from stimgen.measure.spectrum import power_spectrum


@pytest.mark.parametrize("size", [128, 255, 256])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.7, 2.5])
def test_power_law_gives_its_exponent(alpha, size):
    slope = spectral_slope(power_spectrum(power_law(alpha, size)), 2, size // 2)
    assert slope.alpha == pytest.approx(alpha, abs=0.02)
    if alpha:
        assert slope.r_squared > 0.999


def test_fit_is_scipys_regression():
    spectrum = power_spectrum(read_image("skimage:gravel").pixels)
    inside = slice(4, 100)  # 5 ... 100 cycles per image
    fit = stats.linregress(np.log(np.arange(5, 101)), np.log(np.sqrt(spectrum.radial[inside])))
    slope = spectral_slope(spectrum, 5, 100)
    assert slope.alpha == pytest.approx(-fit.slope)
    assert slope.r_squared == pytest.approx(fit.rvalue**2)
    assert slope.alpha > 0.5


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_constant_image_has_no_slope(value):
    slope = spectral_slope(power_spectrum(np.full((31, 32), value, np.float32)), 1, 15)
    assert (slope.alpha, slope.r_squared) == (None, None)


def test_columns_give_the_range_of_the_fit():
    image = power_law(1.0, 64)
    found = slope_columns(DecodedImage(image, side_deg=4.0))
    slope = spectral_slope(power_spectrum(image), 2, 16)
    assert (found["spectral_slope"], found["spectral_slope_r2"]) == slope
    assert [found[f"spectral_slope_{end}"] for end in ("low_cpi", "high_cpi", "low_cpd", "high_cpd")] == [
        2,
        16,
        0.5,
        4,
    ]
    assert slope_columns(DecodedImage(image))["spectral_slope_low_cpd"] is None


def test_flat_spectrum_has_an_exponent_and_no_r_squared():
    image = np.zeros((32, 32))
    image[3, 4] = 1
    slope = spectral_slope(power_spectrum(image), 1, 16)
    assert slope.alpha == pytest.approx(0, abs=1e-9)
    assert slope.r_squared is None


@pytest.mark.parametrize(("low", "high"), [(10, 11), (20, 10), (200, 300), (1.2, 3.8)])
def test_range_without_three_frequencies(low, high):
    spectrum = power_spectrum(np.random.default_rng(0).random((64, 64)))
    with pytest.raises(InputError, match="a fit needs three"):
        spectral_slope(spectrum, low, high)
