from __future__ import annotations

import numpy as np
import pytest
from measured_images import crops_of_noise, power_law
from scipy import stats

from stimgen.images.read import read_image
from stimgen.measure import DecodedImage
from stimgen.measure.slope import slope_columns, spectral_slope
from stimgen.measure.spectrum import power_spectrum, windowed_spectrum


@pytest.mark.parametrize("size", [128, 255, 256])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.7, 2.5])
def test_power_law_gives_its_exponent(alpha, size):
    slope = spectral_slope(power_spectrum(power_law(alpha, size)), 2, size // 2)
    assert slope.alpha == pytest.approx(alpha, abs=1e-6)
    if alpha:
        assert slope.r_squared > 0.999


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 2.0, 2.5])
def test_crops_of_larger_noise_have_its_exponent(alpha):
    """Crops are not periodic. A single one of 128 px has an SD of 0.065."""
    slopes = [slope_columns(DecodedImage(crop))["spectral_slope"] for crop in crops_of_noise(alpha)]
    assert np.mean(slopes) == pytest.approx(alpha, abs=0.05)
    assert np.std(slopes) < 0.1


@pytest.mark.parametrize(("alpha", "end"), [(1.0, 32), (2.0, 26), (2.5, 11)])
@pytest.mark.parametrize("colour", [False, True])
def test_the_fit_ends_before_rounding_to_8_bits_counts(alpha, end, colour):
    """Rounding is white noise, which would make steep images flatter."""
    crops = crops_of_noise(alpha)
    rounded = [np.rint(255 * (0.5 + 0.15 * (crop - crop.mean()) / crop.std())) / 255 for crop in crops]
    images = [np.repeat(x[..., np.newaxis], 3, axis=2) if colour else x for x in rounded]
    found = [slope_columns(DecodedImage(image)) for image in images]
    assert np.mean([values["spectral_slope"] for values in found]) == pytest.approx(alpha, abs=0.06)
    assert np.mean([values["spectral_slope_high_cpi"] for values in found]) == pytest.approx(end, abs=2)


def test_fit_is_scipys_regression():
    image = read_image("skimage:gravel").pixels
    side = len(image)
    axis = np.fft.fftfreq(side, 1 / side)
    frequency = np.hypot(axis[:, np.newaxis], axis)
    amplitude = np.abs(np.fft.fft2(image.astype(np.float64)))
    rings = [np.rint(frequency) == k for k in range(5, 101)]
    x, y = ([np.log(values[ring]).mean() for ring in rings] for values in (frequency, amplitude))
    fit = stats.linregress(x, y)
    slope = spectral_slope(power_spectrum(image), 5, 100)
    assert slope.alpha == pytest.approx(-fit.slope)
    assert slope.r_squared == pytest.approx(fit.rvalue**2)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_constant_image_has_no_slope(value):
    for spectrum in (power_spectrum, windowed_spectrum):
        assert spectral_slope(spectrum(np.full((31, 32), value, np.float32)), 1, 15) == (None, None)


def test_columns_give_the_range_of_the_fit():
    image = power_law(1.0, 64)
    found = slope_columns(DecodedImage(image, side_deg=4.0))
    slope = spectral_slope(windowed_spectrum(image), 3, 16)
    assert (found["spectral_slope"], found["spectral_slope_r2"]) == slope
    ends = [found[f"spectral_slope_{end}"] for end in ("low_cpi", "high_cpi", "low_cpd", "high_cpd")]
    assert ends == [3, 16, 0.75, 4]
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
    assert spectral_slope(spectrum, low, high) == (None, None)


def test_frequencies_without_power_are_left_out():
    image = power_law(1.0, 64)
    rows, columns = np.mgrid[:64, :64]
    wave = np.exp(-2j * np.pi * (3 * rows + 5 * columns) / 64)
    without = image - 2 * (np.mean(image * wave) * wave.conj()).real
    spectrum = power_spectrum(without)
    assert spectrum.power[3, 5] == 0
    assert spectral_slope(spectrum, 2, 32).alpha == pytest.approx(1, abs=1e-6)
