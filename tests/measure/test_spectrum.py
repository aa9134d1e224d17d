from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft as scipy_fft
from scipy import stats

from stimgen.errors import InputError
from stimgen.images.read import read_image
from stimgen.measure.spectrum import radial_power_spectrum, spectral_slope


def power_law(alpha, size, seed=0):
    """Random phases, amplitude exactly 1 / frequency^alpha."""
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, np.newaxis], frequency)
    radius[0, 0] = np.inf
    phases = np.angle(np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size))))
    image = np.fft.ifft2(radius**-alpha * np.exp(1j * phases)).real
    return 0.5 + 0.1 * image / image.std()


def spectrum_by_loop(image):
    height, width = image.shape
    power = np.abs(scipy_fft.fft2(image)) ** 2 / image.size**2
    rings = {}
    for u in range(height):
        for v in range(width):
            fu, fv = (min(u, height - u) / height), (min(v, width - v) / width)
            rings.setdefault(round((fu**2 + fv**2) ** 0.5 * min(height, width)), []).append(power[u, v])
    return [np.mean(rings[k]) for k in range(1, min(height, width) // 2 + 1)]


@pytest.mark.parametrize("size", [(32, 32), (33, 33), (32, 33), (24, 41), (2, 2), (3, 9)])
def test_against_a_plain_loop(size):
    image = np.random.default_rng(0).random(size)
    frequency, power = radial_power_spectrum(image)
    np.testing.assert_array_equal(frequency, np.arange(1, min(size) // 2 + 1))
    np.testing.assert_allclose(power, spectrum_by_loop(image), rtol=1e-10)


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize(("cycles", "axis"), [(1, 0), (7, 1), (31, 0)])
def test_grating_has_power_at_its_frequency_alone(size, cycles, axis):
    wave = 0.5 + 0.2 * np.sin(2 * np.pi * cycles * np.arange(size) / size)
    image = np.tile(wave, (size, 1))
    frequency, power = radial_power_spectrum(image if axis else image.T)
    assert frequency[np.argmax(power)] == cycles
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size) * size] * 2))
    in_ring = np.count_nonzero(np.rint(radius) == cycles)
    assert power[cycles - 1] * in_ring == pytest.approx(0.2**2 / 2)
    assert np.delete(power, cycles - 1).max() < 1e-20


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 1000))
def test_rotating_and_shifting_changes_nothing(height, width, seed):
    image = np.random.default_rng(seed).random((height, width))
    _, power = radial_power_spectrum(image)
    for other in (np.rot90(image), image[::-1], np.roll(image, (3, 5), (0, 1)), image + 0.25):
        np.testing.assert_allclose(radial_power_spectrum(other)[1], power, rtol=1e-9, atol=1e-20)


def test_colour_is_measured_by_its_luminance():
    image = read_image("skimage:coffee").pixels[:128, :128]
    plane = image.astype(np.float64) @ [0.2126, 0.7152, 0.0722]
    np.testing.assert_allclose(radial_power_spectrum(image)[1], radial_power_spectrum(plane)[1])


@pytest.mark.parametrize("size", [128, 255, 256])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.7, 2.5])
def test_power_law_gives_its_exponent(alpha, size):
    slope = spectral_slope(power_law(alpha, size), 2, size // 2)
    assert slope.alpha == pytest.approx(alpha, abs=0.02)
    assert (slope.low_cpi, slope.high_cpi) == (2, size // 2)
    if alpha:
        assert slope.r_squared > 0.999


def test_white_noise_has_an_exponent_of_0():
    image = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    assert spectral_slope(image, 4, 128).alpha == pytest.approx(0, abs=0.02)


def test_fit_is_scipys_regression():
    image = read_image("skimage:gravel").pixels
    frequency, power = radial_power_spectrum(image)
    inside = slice(4, 100)  # 5 ... 100 cycles per image
    fit = stats.linregress(np.log(frequency[inside]), np.log(np.sqrt(power[inside])))
    slope = spectral_slope(image, 5, 100)
    assert slope.alpha == pytest.approx(-fit.slope)
    assert slope.r_squared == pytest.approx(fit.rvalue**2)
    assert slope.alpha > 0.5


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_constant_image_has_no_slope(value):
    slope = spectral_slope(np.full((31, 32), value, np.float32), 1, 15)
    assert (slope.alpha, slope.r_squared) == (None, None)


def test_flat_spectrum_has_an_exponent_and_no_r_squared():
    image = np.zeros((32, 32))
    image[3, 4] = 1
    slope = spectral_slope(image, 1, 16)
    assert slope.alpha == pytest.approx(0, abs=1e-9)
    assert slope.r_squared is None


@pytest.mark.parametrize(("low", "high"), [(10, 11), (20, 10), (200, 300), (1.2, 3.8)])
def test_range_without_three_frequencies(low, high):
    with pytest.raises(InputError, match="a fit needs three"):
        spectral_slope(np.random.default_rng(0).random((64, 64)), low, high)


@pytest.mark.parametrize("image", [np.zeros((1, 5)), np.full((4, 4), np.nan)])
def test_what_has_no_spectrum(image):
    with pytest.raises(ValueError, match="a spectrum needs"):
        radial_power_spectrum(image)
