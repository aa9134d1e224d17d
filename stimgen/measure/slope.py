"""How the amplitude of an image falls with spatial frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stimgen.column import Column
from stimgen.errors import InputError
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum

LOW_CPI = 2.0
"""Lowest frequency of the fit in cycles per image; the highest is half the Nyquist frequency."""


class Slope(NamedTuple):
    """Exponent of the amplitude, and the share of the variance of the log amplitudes that it explains."""

    alpha: float | None
    r_squared: float | None


def spectral_slope(spectrum: PowerSpectrum, low_cpi: float, high_cpi: float) -> Slope:
    """Fit amplitude = c / frequency^alpha to the rotational average of an image's spectrum.

    Least squares, on a straight line through log₁₀ √P(k) against log₁₀ k, one point for every whole number
    k of cycles per image in `low_cpi` … `high_cpi`, both included, all with the same weight; P is
    `spectrum.radial`. The amplitude falls with alpha, the power with 2 · alpha. Natural images have an alpha
    near 1, white noise has 0.

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
    count = len(spectrum.radial)
    frequency = np.arange(1, count + 1)
    fitted = (frequency >= low_cpi) & (frequency <= high_cpi)
    if np.count_nonzero(fitted) < 3:
        raise InputError(
            f"The spectral slope cannot be fitted from {low_cpi:g} to {high_cpi:g} cycles per image: "
            f"the image has the frequencies 1 to {count}, and a fit needs three.",
            "Widen the range.",
        )
    power = spectrum.radial[fitted]
    if not power.all():
        return Slope(None, None)
    x = np.log10(frequency[fitted])
    y = 0.5 * np.log10(power)
    dx, dy = x - x.mean(), y - y.mean()
    steepness = float(dx @ dy / (dx @ dx))
    unexplained, total = float(np.sum((dy - steepness * dx) ** 2)), float(dy @ dy)
    # A flat spectrum has no variance to explain; what is left is rounding of the logarithms.
    flat = total <= len(y) * 1e-20
    return Slope(-steepness, None if flat else 1 - unexplained / total)


@register_statistic(
    "slope",
    order=30,
    columns=(
        Column(
            "spectral_slope",
            "Spectral slope",
            "alpha of amplitude = c / frequency^alpha, fitted to the rotational average of the spectrum; "
            "positive where amplitude falls, white noise has 0.",
            "",
            "Field (1987), J. Opt. Soc. Am. A 4:2379",
        ),
        Column(
            "spectral_slope_r2",
            "Fit of the slope",
            "Share of the variance of log amplitude that the line explains.",
        ),
        Column("spectral_slope_low_cpi", "Lowest fitted frequency", "Lower end of the fit.", "cycles/image"),
        Column(
            "spectral_slope_high_cpi", "Highest fitted frequency", "Upper end of the fit.", "cycles/image"
        ),
        Column(
            "spectral_slope_low_cpd",
            "Lowest fitted frequency",
            "Lower end of the fit; empty where visual angle is unknown.",
            "cycles/deg",
        ),
        Column(
            "spectral_slope_high_cpd",
            "Highest fitted frequency",
            "Upper end of the fit; empty where visual angle is unknown.",
            "cycles/deg",
        ),
    ),
)
def slope_columns(image: DecodedImage) -> Values:
    """Return the slope (`spectral_slope`) from 2 cycles per image to half the Nyquist frequency."""
    high_cpi, side_deg = min(image.spectrum.shape) / 4, image.side_deg
    slope = spectral_slope(image.spectrum, LOW_CPI, high_cpi)
    return {
        "spectral_slope": slope.alpha,
        "spectral_slope_r2": slope.r_squared,
        "spectral_slope_low_cpi": LOW_CPI,
        "spectral_slope_high_cpi": high_cpi,
        "spectral_slope_low_cpd": LOW_CPI / side_deg if side_deg else None,
        "spectral_slope_high_cpd": high_cpi / side_deg if side_deg else None,
    }
