from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from measured_images import pairs_of_images, ring
from scipy import fft as scipy_fft

from stimgen.measure import DecodedImage
from stimgen.measure.spectral_distance import (
    amplitude_error,
    radial_error_db,
    spectral_distance_columns,
)
from stimgen.measure.spectrum import power_spectrum

MEASURES = [amplitude_error, radial_error_db]
NOISE = np.random.default_rng(1).random((24, 31))


def by_loop(image, source):
    """Return the amplitude error and the radial error, frequency by frequency over the whole plane."""
    height, width = source.shape
    shorter = min(height, width)
    X, S = scipy_fft.fft2(image), scipy_fft.fft2(source)
    squares, reference = [], []
    rings = {k: ([], []) for k in range(1, shorter // 2 + 1)}
    for u in range(height):
        for v in range(width):
            if (u, v) == (0, 0):
                continue
            squares.append((abs(X[u, v]) - abs(S[u, v])) ** 2)
            reference.append(abs(S[u, v]) ** 2)
            if (k := ring(min(u, height - u), min(v, width - v), height, width)) in rings:
                rings[k][0].append(abs(X[u, v]) ** 2)
                rings[k][1].append(abs(S[u, v]) ** 2)
    decibels = [10 * math.log10(np.mean(x) / np.mean(s)) for x, s in rings.values()]
    return math.sqrt(sum(squares) / sum(reference)), math.sqrt(np.mean(np.square(decibels)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 25), st.integers(2, 25), st.integers(0, 999))
@example(18, 20, 0)  # 6 cycles per height and 5 per width: 7.5 cycles per shorter side
def test_errors_by_a_plain_loop(height, width, seed):
    image, source = np.random.default_rng(seed).random((2, height, width))
    measured = [measure(power_spectrum(image), power_spectrum(source)) for measure in MEASURES]
    assert measured == pytest.approx(by_loop(image, source), rel=1e-9)


@settings(deadline=None)
@given(pairs_of_images())
def test_errors_are_finite_or_none(pair):
    spectrum, source = map(power_spectrum, pair)
    amplitude, decibels = amplitude_error(spectrum, source), radial_error_db(spectrum, source)
    assert (amplitude is None) == (not source.power.any())
    assert (decibels is None) == (0 in spectrum.radial or 0 in source.radial)
    for value in (amplitude, decibels):
        assert value is None or (math.isfinite(value) and value >= 0)


def test_images_of_another_shape_are_not_compared():
    found = spectral_distance_columns(DecodedImage(NOISE), power_spectrum(NOISE.T))
    assert found == {"amplitude_error": None, "radial_error_db": None}
    found = spectral_distance_columns(DecodedImage(NOISE[::-1, ::-1]), power_spectrum(NOISE))
    assert found == pytest.approx({"amplitude_error": 0, "radial_error_db": 0}, abs=1e-9)
