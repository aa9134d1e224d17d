"""How the amplitude of an image falls with spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stimgen.errors import InputError
from stimgen.measure.spectrum import PowerSpectrum


def spectral_slope(spectrum: PowerSpectrum, low_cpi: float, high_cpi: float) -> Slope:
    """Fit amplitude = c / frequency^alpha to the rotational average of an image's spectrum.

    Least squares, on a straight line through log₁₀ √P(k) against log₁₀ k, one point for every whole number
    k of cycles per image in `low_cpi` … `high_cpi`, all with the same weight; P is `spectrum.radial`. The
    amplitude falls with alpha, the power with 2 · alpha. Natural images have an alpha near 1, white noise
    has 0.

    Parameters
    ----------
    spectrum
        Of the image.
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
        return Slope(None, None, low_cpi, high_cpi)
    x = np.log10(frequency[fitted])
    y = 0.5 * np.log10(power)
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
