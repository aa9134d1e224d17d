"""The power spectrum of one image, and its average over orientation."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import luminance

# Relative to the image's mean square; below it is the rounding of the transform.
NO_POWER = 1e-24


def power_spectrum(image: NDArray[np.floating]) -> PowerSpectrum:
    """Return the power spectrum of an image's luminance, without frequency zero.

    With X(u, v) = Σ x(row, column) exp(−2πi (u·row/H + v·column/W)) of the luminance x, the power at a
    frequency is |X|² / (H·W)², and all powers together are the variance of x (Parseval). No window is
    applied: the transform sees the image as periodic, and the jump between opposite borders adds power along
    the axes that falls with the square of frequency. Powers below 10⁻²⁴ of the mean square of x are the
    rounding of the transform, and are set to 0.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3).

    Raises
    ------
    ValueError
        If a side is shorter than 2 pixels, or the image has another shape.
    """
    values = luminance(image)
    height, width = values.shape
    if min(height, width) < 2:
        raise ValueError("a spectrum needs sides of 2 pixels or more")
    power = np.abs(np.fft.rfft2(values)) ** 2 / values.size**2
    power[power <= NO_POWER * float(np.mean(values**2))] = 0
    power[0, 0] = 0
    return PowerSpectrum(power * _multiplicity(width), (height, width))


def windowed_spectrum(image: NDArray[np.floating]) -> PowerSpectrum:
    """Return the power spectrum of an image's luminance, estimated without the jump between its borders.

    An image is seldom periodic, and the jump between opposite borders adds power along the axes that hides
    what falls faster than 1 / frequency². A Hann window w avoids the jump (Harris 1978), and the Laplacian

        L(y, x) = x(y, x − 1) + x(y, x + 1) + x(y − 1, x) + x(y + 1, x) − 4 x(y, x)

    before it flattens the spectrum (Blackman & Tukey 1958), so that the window moves hardly any power from
    strong low frequencies to weak high ones. With F the discrete Fourier transform,

        P(u, v) = |F[w L]|² / ((H W)² · mean(w²) · (4 sin²(πu/H) + 4 sin²(πv/W))²)

    where the last factor is the Laplacian's own response. Brightness and a constant slope of it have no
    Laplacian, and no power here. The window blurs the spectrum by about 1.5 cycles per image; below 2 there
    is no telling frequencies and orientations apart. As in `power_spectrum`, rounding is set to 0.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3).
    """
    values = luminance(image)
    height, width = values.shape
    laplacian = -4 * values[1:-1, 1:-1]
    for neighbours in (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:]):
        laplacian += neighbours
    rows, columns = np.hanning(height), np.hanning(width)
    windowed = np.zeros_like(values)
    windowed[1:-1, 1:-1] = laplacian * np.outer(rows[1:-1], columns[1:-1])
    power = np.abs(np.fft.rfft2(windowed)) ** 2 / values.size**2
    power[power <= NO_POWER * float(np.mean(values**2))] = 0
    response = 4 * np.sin(np.pi * np.fft.fftfreq(height))[:, np.newaxis] ** 2
    response = response + 4 * np.sin(np.pi * np.fft.rfftfreq(width)) ** 2
    response[0, 0], power[0, 0] = 1, 0
    share = float(np.mean(rows**2) * np.mean(columns**2)) or 1.0
    return PowerSpectrum(power / (response**2 * share) * _multiplicity(width), (height, width))


@dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """Power of an image's luminance at each spatial frequency; see `power_spectrum`, `windowed_spectrum`.

    Attributes
    ----------
    power
        (H, W // 2 + 1), row frequencies `rows` by column frequencies `columns`, one-sided: an image is real,
        so (u, v) and (−u, −v) have the same power, and where only one of them is in the array it holds the
        power of both. The sum is the variance, exactly without a window. Frequency zero has 0.
    shape
        (H, W) of the image.
    """

    power: NDArray[np.float64]
    shape: tuple[int, int]

    @property
    def rows(self) -> NDArray[np.intp]:
        """Cycles per height, downwards, shape (H, 1): 0, 1, …, −1; the Nyquist frequency is −H/2."""
        height = self.shape[0]
        return np.fft.ifftshift(np.arange(height) - height // 2)[:, np.newaxis]

    @property
    def columns(self) -> NDArray[np.intp]:
        """Cycles per width, to the right, shape (1, W // 2 + 1): 0, 1, …, W // 2."""
        return np.arange(self.shape[1] // 2 + 1)[np.newaxis, :]

    @functools.cached_property
    def radius(self) -> NDArray[np.float64]:
        """Spatial frequency in cycles per pixel, the shape of `power`; along an axis 1/2 is Nyquist's."""
        height, width = self.shape
        return self._whole_radius / (height * width)

    @functools.cached_property
    def _whole_radius(self) -> NDArray[np.float64]:
        """H · W · radius: roots of whole numbers, exact where they are whole, and equal on one circle."""
        height, width = self.shape
        squares = (self.rows * width) ** 2 + (self.columns * height) ** 2
        root: NDArray[np.float64] = np.sqrt(squares.astype(np.float64))
        return root

    @functools.cached_property
    def radial(self) -> NDArray[np.float64]:
        """Rotational average of the power, shape (K,), at 1, 2, …, K = min(H, W) // 2 cycles per image.

        The value at k is the mean power over the frequencies (u, v), each of a pair counted by itself, whose
        radius, rounded, is k cycles per image. For an image that is not square, "image" is its shorter side.
        Frequencies in the corners of the spectrum, beyond K, are in no ring. A radius halfway between two
        rings belongs to the even one (van der Schaaf & van Hateren 1996).
        """
        return self._mean_over_rings(self.power / self.multiplicity)

    @functools.cached_property
    def radial_logarithms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means over the rings of `radial` of log₁₀ frequency (cycles per image) and of log₁₀ amplitude.

        Frequencies without power are left out; a ring without any power has NaN. In the mean of logarithms a
        few strong frequencies, such as those of a regular pattern, count no more than others.
        """
        present = self.power > 0
        amplitude = 0.5 * np.log10(np.where(present, self.power / self.multiplicity, 1))
        frequency = np.log10(np.where(present, self.radius * min(self.shape), 1))
        with np.errstate(invalid="ignore"):
            share = self._mean_over_rings(present)
            return self._mean_over_rings(frequency) / share, self._mean_over_rings(amplitude) / share

    @property
    def multiplicity(self) -> NDArray[np.float64]:
        """For each element of `power`, how many of (u, v), (−u, −v) it stands for: 1 or 2."""
        return np.broadcast_to(_multiplicity(self.shape[1]), self.power.shape)

    def _mean_over_rings(self, values: NDArray[Any]) -> NDArray[np.float64]:
        # H · W · radius over the longer side is the radius in cycles per shorter side.
        ring = np.rint(self._whole_radius / max(self.shape)).astype(np.intp).ravel()
        rings = slice(1, min(self.shape) // 2 + 1)
        total = np.bincount(ring, weights=(values * self.multiplicity).ravel())[rings]
        mean: NDArray[np.float64] = total / np.bincount(ring, weights=self.multiplicity.ravel())[rings]
        return mean


def _multiplicity(width: int) -> NDArray[np.float64]:
    """Return, for each column of a one-sided spectrum, how many of (u, v), (−u, −v) it stands for."""
    return np.where(2 * np.arange(width // 2 + 1) % width == 0, 1.0, 2.0)
