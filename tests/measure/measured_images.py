"""Images of known content, for the tests of this folder."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def ring(u, v, height, width):
    """Return the radius in cycles per shorter side, rounded, a half to the even number, without any error."""
    square = min(height, width) ** 2 * (Fraction(u, height) ** 2 + Fraction(v, width) ** 2)
    below = math.isqrt(math.floor(square))
    half = (below + Fraction(1, 2)) ** 2
    return below + (square > half or (square == half and below % 2 == 1))


def power_law(alpha, size, seed=0):
    """Random phases, amplitude exactly 1 / frequency^alpha."""
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, np.newaxis], frequency)
    radius[0, 0] = np.inf
    phases = np.angle(np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size))))
    image = np.fft.ifft2(radius**-alpha * np.exp(1j * phases)).real
    return 0.5 + 0.1 * image / image.std()


def crops_of_noise(alpha, size=128, seed=3):
    """Crops of 1 / frequency^alpha noise on larger squares; random phases and amplitudes, isotropic."""
    rng, larger = np.random.default_rng(seed), 8 * size
    frequency = np.fft.fftfreq(larger) * larger
    radius = np.hypot(frequency[:, np.newaxis], frequency)
    radius[0, 0] = np.inf
    for _ in range(2):
        noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((larger, larger))) * radius**-alpha).real
        yield from noise.reshape(8, size, 8, size).swapaxes(1, 2).reshape(-1, size, size)


def grating(size, cycles, *, along="row", amplitude=0.2):
    """Return a sinusoid of whole cycles per image around 0.5, which changes along each row or column."""
    wave = 0.5 + amplitude * np.sin(2 * np.pi * cycles * np.arange(size) / size)
    image = np.tile(wave, (size, 1))
    return image if along == "row" else image.T


@st.composite
def images(draw, shape=None):
    """Draw an image of any sides from 2 px, grey or colour: noise, two values, or constant; float32."""
    height, width = shape or (draw(st.integers(2, 24)), draw(st.integers(2, 24)))
    pixels = (height, width) if draw(st.booleans()) else (height, width, 3)
    kind = draw(st.sampled_from(["noise", "8 bits", "two values", "constant", "any"]))
    if kind == "constant":
        return np.full(pixels, draw(st.floats(0, 1, width=32)), np.float32)
    if kind == "any":
        return draw(hnp.arrays(np.float32, pixels, elements=st.floats(0, 1, width=32)))
    noise = np.random.default_rng(draw(st.integers(0, 999))).random(pixels, np.float32)
    if kind == "two values":
        low, high = sorted(draw(st.tuples(*[st.floats(0, 1, width=32)] * 2)))
        return np.where(noise < 0.3, np.float32(low), np.float32(high))
    return np.rint(noise * 255).astype(np.float32) / 255 if kind == "8 bits" else noise


def pairs_of_images():
    """Draw two images of the same height and width."""
    sides = st.tuples(st.integers(2, 24), st.integers(2, 24))
    return sides.flatmap(lambda shape: st.tuples(images(shape), images(shape)))


def grey(image):
    """Return the luminance plane by its formula."""
    values = image.astype(np.float64)
    if values.ndim == 2:
        return values
    return 0.2126 * values[..., 0] + 0.7152 * values[..., 1] + 0.0722 * values[..., 2]
