from __future__ import annotations

import itertools

import numpy as np
import pytest
from control_images import SEEDS, photograph, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, stats

from stimgen.controls.phase_scrambled_histogram import phase_scrambled_histogram


def iaaft(source, start, iterations):
    """The published procedure for one grey image, with whole transforms and scipy's ranks."""
    amplitude = np.abs(fft.fft2(source.astype(np.float64)))
    ordered = np.sort(source, axis=None)
    image = start
    for iteration in range(iterations + 1):
        if iteration:
            image = fft.ifft2(amplitude * np.exp(1j * np.angle(fft.fft2(image)))).real
        ranks = stats.rankdata(image, method="ordinal").astype(int) - 1
        image = ordered[ranks].reshape(source.shape).astype(np.float64)
    return image


def amplitudes(image):
    return np.abs(fft.fft2(image.astype(np.float64), axes=(0, 1)))


@settings(deadline=None)
@given(sources(), st.integers(0, 6), SEEDS)
def test_histogram_is_exact_and_residuals_are_finite(source, iterations, seed):
    made = phase_scrambled_histogram(source, np.random.default_rng(seed), iterations=iterations)
    assert made.image.shape == source.shape
    assert made.image.dtype == np.float32
    by_channel = (np.sort(x.reshape(-1, *x.shape[2:]), axis=0) for x in (made.image, source))
    np.testing.assert_array_equal(*by_channel)
    assert made.residuals["histogram"] == 0
    assert 0 <= made.residuals["spectrum"] < 2


@pytest.mark.parametrize("size", [(64, 64), (40, 51)])
@pytest.mark.parametrize("iterations", [0, 5])
def test_grey_is_the_published_procedure(size, iterations):
    source = photograph("brick", *size)
    # The start in float64, because ranks show differences of the last bit.
    made = phase_scrambled_histogram(source, np.random.default_rng(4), iterations=iterations)
    noise = fft.fft2(np.random.default_rng(4).standard_normal(size))
    phases = np.angle(noise)
    phases[0, 0] = 0
    start = fft.ifft2(fft.fft2(source.astype(np.float64)) * np.exp(1j * phases)).real
    assert np.mean(made.image == iaaft(source, start, iterations).astype(np.float32)) > 0.999


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_iterations_bring_the_spectrum_nearer(name):
    source = photograph(name, 64, 63)
    residuals = [
        phase_scrambled_histogram(source, np.random.default_rng(1), iterations=n).residuals["spectrum"]
        for n in (0, 1, 5, 25, 100)
    ]
    assert all(after < before for before, after in itertools.pairwise(residuals))
    assert residuals[-1] < residuals[0] / 2


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_the_residual_of_the_spectrum_is_what_its_formula_says(name):
    source = photograph(name, 33, 40)
    made = phase_scrambled_histogram(source, np.random.default_rng(1), iterations=3)
    before, after = amplitudes(source), amplitudes(made.image)
    before[0, 0] = after[0, 0] = 0
    expected = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert made.residuals["spectrum"] == pytest.approx(expected, rel=1e-9)
