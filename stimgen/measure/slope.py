"""How the amplitude of an image falls with spatial frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum

LOW_CPI = 3.0
"""Lowest frequency of the fit in cycles per image; the highest is half the Nyquist frequency."""

ABOVE_ROUNDING = 10.0
"""Power, relative to that of rounding to whole levels, below which frequencies are left out of the fit."""

FLOAT32 = 2.0**-24
"""Largest relative error of rounding to float32."""

LEAST_FREQUENCIES = 3
"""Rings of frequencies that a fit needs."""


class Slope(NamedTuple):
    """Exponent of the amplitude, and the share of the variance of the log amplitudes that it explains."""

    alpha: float | None
    r_squared: float | None


def spectral_slope(spectrum: PowerSpectrum, low_cpi: float, high_cpi: float) -> Slope:
    """Fit amplitude = c / frequency^alpha (Field 1987) to an image's spectrum.

    Least squares, on a straight line through the mean of log₁₀ amplitude against the mean of log₁₀ frequency
    over each ring k of frequencies (`PowerSpectrum.radial_logarithms`), one point for every whole number k of
    cycles per image in `low_cpi` … `high_cpi`, both included, all with the same weight. The amplitude falls
    with alpha, the power with 2 · alpha. Natural images have an alpha near 1, white noise has 0.

    The spectrum should be `stimgen.measure.spectrum.windowed_spectrum`: in a plain transform the jump between
    opposite borders falls with 1 / frequency, and steeper images than that get an alpha near 1.5. Crops of
    128 px from larger noise have an SD of 0.065, half of that at 256 px. An image of one orientation alone,
    such as a grating, has no power at most frequencies, and its alpha says little.

    Returns
    -------
    Slope
        alpha is None if the image has fewer than three frequencies in the range, or no power at one of them
        (a constant image); r_squared also where all amplitudes are the same.
    """
    frequency = np.arange(1, len(spectrum.radial) + 1)
    fitted = (frequency >= low_cpi) & (frequency <= high_cpi)
    x, y = (means[fitted] for means in spectrum.radial_logarithms)
    if len(y) < LEAST_FREQUENCIES or np.isnan(y).any():
        return Slope(None, None)
    dx, dy = x - x.mean(), y - y.mean()
    steepness = float(dx @ dy / (dx @ dx))
    unexplained, total = float(np.sum((dy - steepness * dx) ** 2)), float(dy @ dy)
    # A flat spectrum has no variance to explain; what is left is rounding of the logarithms.
    flat = total <= len(y) * 1e-20
    return Slope(-steepness, None if flat else 1 - unexplained / total)


@register_statistic(
    "slope",
    order=30,
    version=2,
    columns=(
        Column(
            "spectral_slope",
            "Spectral slope",
            "alpha of amplitude = c / frequency^alpha, fitted to the mean log amplitude at each whole number "
            "of cycles per image, of the spectrum behind a Laplacian and a Hann window; positive where "
            "amplitude falls, white noise has 0. Empty for a constant image, below 20 px, and where rounding "
            "hides all but the lowest frequencies.",
            origin="Field (1987), J. Opt. Soc. Am. A 4:2379",
        ),
        Column(
            "spectral_slope_r2",
            "Fit of the slope",
            "Share of the variance of log amplitude that the line explains.",
        ),
        Column("spectral_slope_low_cpi", "Lowest fitted frequency", "Lower end of the fit.", "cycles/image"),
        Column(
            "spectral_slope_high_cpi",
            "Highest fitted frequency",
            "Upper end of the fit: half the Nyquist frequency, or the last frequency before the mean log "
            "amplitude is less than sqrt(10) times that of rounding to the file's bits, as in steep spectra.",
            "cycles/image",
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
    """Return the slope (`spectral_slope`) from 3 cycles per image to half the Nyquist frequency.

    Rounding to 8 bits adds white noise, which hides the high frequencies of steep images: an alpha of 2.5
    would be 1.9 (128 px, SD 0.15). The fit ends before them.
    """
    high_cpi = min(min(image.luminance.shape) / 4, _above_rounding(image))
    slope = spectral_slope(image.windowed_spectrum, LOW_CPI, high_cpi)
    return {
        "spectral_slope": slope.alpha,
        "spectral_slope_r2": slope.r_squared,
        "spectral_slope_low_cpi": LOW_CPI,
        "spectral_slope_high_cpi": high_cpi,
        "spectral_slope_low_cpd": image.per_degree(LOW_CPI),
        "spectral_slope_high_cpd": image.per_degree(high_cpi),
    }


def _above_rounding(image: DecodedImage) -> float:
    """Return the last frequency before rounding to 8 or 16 bits counts, cycles per image; inf without any."""
    for white in (255, 65535):
        levels = image.pixels.astype(np.float64) * white
        if np.abs(levels - np.rint(levels)).max() <= white * FLOAT32:
            break
    else:
        return np.inf
    # Of luminance where the channels are alike, and less where they are not.
    rounding = 1 / (12 * white**2 * image.luminance.size)
    _, amplitude = image.windowed_spectrum.radial_logarithms
    hidden = np.flatnonzero(amplitude < 0.5 * np.log10(ABOVE_ROUNDING * rounding))
    # Ring k has index k − 1.
    return float(hidden[0]) if len(hidden) else np.inf
