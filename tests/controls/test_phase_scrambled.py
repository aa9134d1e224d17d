from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft as scipy_fft

from stimgen.controls.phase_scrambled import periodic, phase_scrambled
from stimgen.images.read import read_image

SIDES = st.integers(1, 24)


def random_image(height, width, seed, channels=None):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def spectrum(image):
    return scipy_fft.fft2(image.astype(np.float64), axes=(0, 1))


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, st.sampled_from([None, 3]), st.integers(0, 2**32 - 1))
def test_amplitudes_are_kept_at_any_size(height, width, channels, seed):
    source = random_image(height, width, seed, channels)
    scrambled = phase_scrambled(source, np.random.default_rng(seed))
    assert scrambled.shape == source.shape
    assert scrambled.dtype == np.float32
    # Rounding to float32 adds noise of this size to every frequency, however small its amplitude.
    rounding = 1e-7 * np.sqrt(source.size) * max(1.0, float(np.abs(scrambled).max()))
    np.testing.assert_allclose(
        np.abs(spectrum(scrambled)), np.abs(spectrum(source)), rtol=1e-6, atol=rounding
    )
    np.testing.assert_allclose(scrambled.mean(axis=(0, 1)), source.mean(axis=(0, 1)), atol=1e-6)


def test_phases_are_uniform_and_differ_between_seeds():
    source = read_image("skimage:brick").pixels[:128, :128]
    turned = []
    for seed in (1, 2):
        scrambled = phase_scrambled(source, np.random.default_rng(seed))
        turn = np.angle(spectrum(scrambled) / spectrum(source))[1:64, 1:64]
        turned.append(turn)
        counts, _ = np.histogram(turn, bins=8, range=(-np.pi, np.pi))
        expected = turn.size / 8
        assert (
            np.sum((counts - expected) ** 2 / expected) < 24.3
        )  # chi-square, 7 degrees of freedom, p = .001
    assert abs(np.mean(np.exp(1j * (turned[0] - turned[1])))) < 0.06


def test_one_phase_field_turns_all_channels():
    source = read_image("skimage:coffee").pixels[:65, :64]
    scrambled = phase_scrambled(source, np.random.default_rng(4))
    before, after = spectrum(source), spectrum(scrambled)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        cross_before = before[..., first] * np.conj(before[..., second])
        cross_after = after[..., first] * np.conj(after[..., second])
        assert np.linalg.norm(cross_after - cross_before) / np.linalg.norm(cross_before) < 1e-6
    np.testing.assert_allclose(np.cov(scrambled.reshape(-1, 3).T), np.cov(source.reshape(-1, 3).T), rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (15, 16), (2, 5)])
def test_smooth_component_has_the_jumps_as_its_laplacian(size):
    image = random_image(*size, seed=7).astype(np.float64)
    smooth = image - periodic(image)
    laplacian = sum(np.roll(smooth, shift, axis) - smooth for shift in (1, -1) for axis in (0, 1))
    jumps = np.zeros(size)
    jumps[0] += image[-1] - image[0]
    jumps[-1] -= image[-1] - image[0]
    jumps[:, 0] += image[:, -1] - image[:, 0]
    jumps[:, -1] -= image[:, -1] - image[:, 0]
    np.testing.assert_allclose(laplacian, jumps, atol=1e-10)
    assert smooth.mean() == pytest.approx(0, abs=1e-12)


def test_periodic_component_removes_the_border_cross():
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    rng = np.random.default_rng(0)
    source = (0.8 * ramp + 0.2 * rng.random((64, 64))).astype(np.float32)

    def cross(image):
        power = np.abs(spectrum(image)) ** 2
        return power[0, 4:32].mean() / power[4:32, 4:32].mean()

    with_cross = phase_scrambled(source, np.random.default_rng(1))
    without = phase_scrambled(source, np.random.default_rng(1), periodic_component=True)
    assert cross(with_cross) > 20
    assert cross(without) < 3
    expected = np.abs(spectrum(periodic(source.astype(np.float64))))
    np.testing.assert_allclose(np.abs(spectrum(without)), expected, atol=1e-4)
    np.testing.assert_allclose(without.mean(), source.mean(), atol=1e-6)
