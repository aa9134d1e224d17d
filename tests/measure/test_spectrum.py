from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from measured_images import grey, images, ring
from scipy import fft as scipy_fft

from stimgen.images.read import read_image
from stimgen.measure.spectrum import power_spectrum


def power_by_frequency(image):
    """Return {(u, v): power} over the whole plane, by another transform; u, v in -side/2 ... side/2."""
    height, width = image.shape
    power = np.abs(scipy_fft.fft2(image)) ** 2 / image.size**2
    return {
        (u if 2 * u < height else u - height, v if 2 * v < width else v - width): power[u, v]
        for u in range(height)
        for v in range(width)
        if (u, v) != (0, 0)
    }


def radial_by_loop(image):
    height, width = image.shape
    rings = {}
    for (u, v), power in power_by_frequency(image).items():
        rings.setdefault(ring(u, v, height, width), []).append(power)
    return [np.mean(rings[k]) for k in range(1, min(height, width) // 2 + 1)]


SIZES = [(32, 32), (32, 33), (2, 2), (3, 9), (18, 20)]


@pytest.mark.parametrize("size", SIZES)
def test_every_frequency_is_there_once(size):
    image = np.random.default_rng(0).random(size)
    spectrum = power_spectrum(image)
    expected = power_by_frequency(image)
    for u, powers in zip(spectrum.rows[:, 0], spectrum.power, strict=True):
        for v, power in zip(spectrum.columns[0], powers, strict=True):
            if u == v == 0:
                assert power == 0
                continue
            alias = v - size[1] if 2 * v >= size[1] else v
            own = expected.pop((u, alias))
            # The conjugate, where it has no place of its own among the columns.
            other = expected.pop((-u, -v) if 2 * u != -size[0] else (u, -v)) if 0 < 2 * v < size[1] else 0
            assert power == pytest.approx(own + other)
    assert not expected


def test_frequencies_on_a_circle_have_the_same_radius_to_the_last_bit():
    radius = power_spectrum(np.eye(20)).radius
    assert radius[3, 4] == radius[4, 3] == radius[-3, 4] == radius[5, 0] == 0.25


@settings(deadline=None)
@given(images())
def test_all_powers_together_are_the_variance(image):
    spectrum = power_spectrum(image)
    values = grey(image)
    # What an image hardly varies is near the rounding of its transform.
    rounding = 1e-14 * np.std(values) * np.sqrt(np.mean(values**2))
    assert spectrum.power.sum() == pytest.approx(np.var(values), rel=1e-9, abs=rounding + 1e-300)
    assert np.isfinite(spectrum.power).all()
    assert np.isfinite(spectrum.radial).all()


@pytest.mark.parametrize("size", SIZES)
def test_rotational_average_against_a_plain_loop(size):
    image = np.random.default_rng(0).random(size)
    np.testing.assert_allclose(power_spectrum(image).radial, radial_by_loop(image), rtol=1e-10)


def test_colour_is_measured_by_its_luminance():
    image = read_image("skimage:coffee").pixels[:128, :128]
    np.testing.assert_allclose(power_spectrum(image).power, power_spectrum(grey(image)).power, rtol=1e-6)


def test_a_row_has_no_spectrum():
    with pytest.raises(ValueError, match="a spectrum needs"):
        power_spectrum(np.zeros((1, 5)))
