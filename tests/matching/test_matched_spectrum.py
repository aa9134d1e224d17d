from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from matched_images import images, photographs

from stimgen.errors import StimgenError
from stimgen.matching.spectrum import (
    amplitudes,
    match_full_spectrum,
    match_rotational_spectrum,
    ring_sizes,
    rings,
    rotational_average,
)

SHAPES = [(48, 48), (47, 47), (48, 31), (31, 48), (33, 48)]
GREY = st.tuples(st.integers(1, 16), st.integers(1, 16)).flatmap(lambda s: st.tuples(images(s), images(s)))


def ring_of(row, column, shape):
    """The ring of one frequency in the full transform, by its definition."""
    height, width = shape
    u, v = np.fft.fftfreq(height)[row], np.fft.fftfreq(width)[column]
    return round(np.hypot(u, v) * min(shape), 9)


def full_average(plane):
    """Rotational average of the amplitudes of the full transform, frequency by frequency."""
    amplitude = np.abs(np.fft.fft2(plane.astype(np.float64)))
    found = {}
    for row, column in np.ndindex(plane.shape):
        if row or column:
            ring = int(np.rint(ring_of(row, column, plane.shape)))
            found.setdefault(ring, []).append(amplitude[row, column])
    return {ring: np.mean(values) for ring, values in found.items()}


def half(plane):
    return np.fft.rfft2(plane.astype(np.float64))


def pair(shape):
    return photographs("brick", "gravel", height=shape[0], width=shape[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_amplitudes_are_replaced_and_phases_and_mean_stay(shape):
    image, reference = pair(shape)
    matched = match_full_spectrum(image, amplitudes(reference))
    before, after, goal = (np.fft.fft2(x.astype(np.float64)) for x in (image, matched, reference))
    rest = np.ones(shape, bool)
    rest[0, 0] = False
    np.testing.assert_allclose(np.abs(after)[rest], np.abs(goal)[rest], rtol=1e-6)
    np.testing.assert_allclose((after / np.abs(after))[rest], (before / np.abs(before))[rest], atol=1e-6)
    assert matched.mean() == pytest.approx(image.mean(dtype=np.float64), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rotational_average_is_the_references_and_rings_keep_their_ratios(shape):
    image, reference = pair(shape)
    average = rotational_average(amplitudes(reference), shape)
    matched = match_rotational_spectrum(image, average)
    found, goal = full_average(matched), full_average(reference)
    assert set(found) == set(goal)
    for ring, mean in goal.items():
        assert found[ring] == pytest.approx(mean, rel=1e-6)
        assert average[ring] == pytest.approx(mean, rel=1e-9)
    ratio, ring = half(matched) / half(image), rings(shape)
    for number in range(ring.max() + 1):
        own = ratio[ring == number][1 if number == 0 else 0 :]
        # One real positive factor for a whole ring: phases and orientations stay.
        np.testing.assert_allclose(own, np.full(own.shape, own[:1].mean() if own.size else 0), rtol=1e-6)
        assert (own.real > 0).all()
    assert matched.mean() == pytest.approx(image.mean(dtype=np.float64), abs=1e-12)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (1, 9), (8, 64), (2, 3)])
def test_rings_are_those_of_the_definition_and_hold_every_frequency(shape):
    counted = np.zeros(rings(shape).max() + 1)
    for row, column in np.ndindex(shape):
        ring = ring_of(row, column, shape)
        counted[int(np.rint(ring))] += bool(row or column)
        if column <= shape[1] // 2:
            assert rings(shape)[row, column] == np.rint(ring)
    np.testing.assert_array_equal(ring_sizes(shape), counted)


def test_a_constant_image_has_no_spectrum_to_scale():
    constant, (reference,) = np.full((48, 48), 0.3, np.float32), photographs("brick")
    goal = amplitudes(reference)
    with pytest.raises(StimgenError, match="constant image, or channel of one, has no Fourier phases"):
        match_full_spectrum(constant, goal)
    with pytest.raises(StimgenError, match="constant image, or channel of one, has no Fourier phases"):
        match_rotational_spectrum(constant, rotational_average(goal, constant.shape))
    nothing = amplitudes(constant)
    assert not nothing.any()
    for flat in (
        match_full_spectrum(reference, nothing),
        match_rotational_spectrum(reference, rotational_average(nothing, constant.shape)),
        match_full_spectrum(constant, nothing),
    ):
        assert np.ptp(flat) < 1e-12


def test_a_ring_without_amplitude_is_named():
    image = np.cos(2 * np.pi * np.arange(16) / 16)[np.newaxis] + np.zeros((16, 1))
    goal = rotational_average(amplitudes(np.random.default_rng(0).random((16, 16))), (16, 16))
    with pytest.raises(StimgenError, match="nothing at the spatial frequency of 2 cycles per image"):
        match_rotational_spectrum(image, goal)
