"""The power spectrum of one image, averaged over orientation, and its slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError
from stimgen.images.pixels import luminance

# Relative to the image's mean square; below it is the rounding of the transform.
NO_POWER = 1e-24


def radial_power_spectrum(
    image: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rotational average of an image's power spectrum.

    With X(u, v) = Σ x(row, column) exp(−2πi (u·row/H + v·column/W)) of the luminance x, the power at a
    frequency is |X|² / (H·W)²; all powers together are the mean square of x (Parseval), and without
    frequency zero its variance. P(k) is the mean power over the frequencies whose radius, rounded, is k
    cycles per image. No window is applied: the transform sees the image as periodic, and the jump between
    opposite borders adds power along the axes that falls with the square of frequency.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3). For an image that is not square, "image" in cycles per image is its shorter
        side.

    Returns
    -------
    frequency_cpi : ndarray of float64, (K,)
        1, 2, …, K = min(H, W) // 2 cycles per image (cycles per degree: divide by the side in degrees).
    power : ndarray of float64, (K,)
        Mean power per frequency; times the number of frequencies in a ring, the ring's share of variance.

    Raises
    ------
    ValueError
        If a side is shorter than 2 pixels or a value is not finite.

    References
    ----------
    van der Schaaf, A. & van Hateren, J. H. (1996). Modelling the power spectra of natural images:
    statistics and information. Vision Research 36, 2759–2770.
    """
    values = luminance(image)
    height, width = values.shape
    shorter = min(height, width)
    if shorter < 2 or not np.isfinite(values).all():
        raise ValueError("a spectrum needs sides of 2 pixels or more, and finite values")
    power = np.abs(np.fft.fft2(values)) ** 2 / values.size**2
    rows = np.fft.fftfreq(height)[:, np.newaxis]
    columns = np.fft.fftfreq(width)[np.newaxis, :]
    ring = np.rint(np.hypot(rows, columns) * shorter).astype(np.intp)
    count = shorter // 2
    total = np.bincount(ring.ravel(), weights=power.ravel())[1 : count + 1]
    number = np.bincount(ring.ravel())[1 : count + 1]
    return np.arange(1, count + 1, dtype=np.float64), total / number


def spectral_slope(image: NDArray[np.floating], low_cpi: float, high_cpi: float) -> Slope:
    """Fit amplitude = c / frequency^alpha to the rotational average of an image's spectrum.

    Least squares, on a straight line through log₁₀ √P(k) against log₁₀ k, one point for every whole number
    k of cycles per image in `low_cpi` … `high_cpi`, all with the same weight; P from
    `radial_power_spectrum`. The amplitude falls with alpha, the power with 2 · alpha. Natural images have
    an alpha near 1, white noise has 0.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3).
    low_cpi, high_cpi
        Fit range in cycles per image, both included.

    Returns
    -------
    Slope
        alpha is None if a frequency in the range has no power (a constant image), r_squared also where all
        amplitudes are the same.

    Raises
    ------
    InputError
        If fewer than three frequencies of the image lie in the range.

    References
    ----------
    Field, D. J. (1987). Relations between the statistics of natural images and the response properties of
    cortical cells. J. Opt. Soc. Am. A 4, 2379–2394.
    """
    frequency, power = radial_power_spectrum(image)
    fitted = (frequency >= low_cpi) & (frequency <= high_cpi)
    if np.count_nonzero(fitted) < 3:
        raise InputError(
            f"The spectral slope cannot be fitted from {low_cpi:g} to {high_cpi:g} cycles per image: "
            f"the image has the frequencies 1 to {len(frequency)}, and a fit needs three.",
            "Widen the range.",
        )
    if power[fitted].min() <= NO_POWER * float(np.mean(luminance(image) ** 2)):
        return Slope(None, None, low_cpi, high_cpi)
    x = np.log10(frequency[fitted])
    y = 0.5 * np.log10(power[fitted])
    dx, dy = x - x.mean(), y - y.mean()
    steepness = float(dx @ dy / (dx @ dx))
    unexplained, total = float(np.sum((dy - steepness * dx) ** 2)), float(dy @ dy)
    # A flat spectrum has no variance to explain; what is left is rounding of the logarithms.
    flat = total <= len(y) * 1e-20
    return Slope(-steepness, None if flat else 1 - unexplained / total, low_cpi, high_cpi)


@dataclass(frozen=True)
class Slope:
    """Fall of the amplitude spectrum, amplitude ∝ 1 / frequency^alpha.

    Attributes
    ----------
    alpha
        Exponent of the amplitude, positive where it falls; half the exponent of the power.
    r_squared
        Share of the variance of the log amplitudes that the line explains.
    low_cpi, high_cpi
        Fit range in cycles per image.
    """

    alpha: float | None
    r_squared: float | None
    low_cpi: float
    high_cpi: float
