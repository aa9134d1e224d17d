"""First-order statistics of one image's luminance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import luminance


def luminance_statistics(image: NDArray[np.floating]) -> LuminanceStatistics:
    """Measure the distribution of luminance values over the pixels of an image, in float64.

    With x the luminance (`luminance`; the pixel value itself in grey images), n pixels, and central
    moments m_k = Σ (x − mean)^k / n:

    - sd = √m₂. Peli (1990) calls this the rms contrast of normalised luminance.
    - rms_contrast = sd / mean, which does not change when all luminances are scaled (Moulden et al. 1990).
    - skewness = m₃ / m₂^(3/2).
    - kurtosis = m₄ / m₂², Pearson's: 3 for a normal distribution, not 0.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3), values 0..1.

    Returns
    -------
    LuminanceStatistics
        None stands for what is not defined: rms_contrast of a black image, skewness and kurtosis of a
        constant one.

    Raises
    ------
    ValueError
        If a value is not finite, or the image has another shape or no pixels.

    References
    ----------
    Peli, E. (1990). Contrast in complex images. J. Opt. Soc. Am. A 7, 2032–2040.

    Moulden, B., Kingdom, F. & Gatley, L. F. (1990). The standard deviation of luminance as a metric for
    contrast in random-dot images. Perception 19, 79–101.

    Examples
    --------
    >>> statistics = luminance_statistics(np.array([[0.25, 0.75]]))
    >>> statistics.mean, statistics.sd, statistics.rms_contrast, statistics.kurtosis
    (0.5, 0.25, 0.5, 1.0)
    """
    values = luminance(image)
    if not values.size or not np.isfinite(values).all():
        raise ValueError("statistics need pixels, all of them finite")
    low, high = float(values.min()), float(values.max())
    if low == high:
        # Rounding in the mean would leave moments of 1e-17, whose ratios mean nothing.
        return LuminanceStatistics(low, 0.0, 0.0 if low else None, None, None, low, high)
    mean = float(values.mean())
    deviations = values - mean
    squares = deviations**2
    # Powers of 3 and 4 as products: twenty times as fast.
    m2, m3, m4 = (float(np.mean(power)) for power in (squares, squares * deviations, squares**2))
    return LuminanceStatistics(
        mean=mean,
        sd=m2**0.5,
        rms_contrast=m2**0.5 / mean if mean else None,
        skewness=m3 / m2**1.5,
        kurtosis=m4 / m2**2,
        minimum=low,
        maximum=high,
    )


@dataclass(frozen=True)
class LuminanceStatistics:
    """Statistics of the luminance of one image; see `luminance_statistics` for the formulas."""

    mean: float
    sd: float
    rms_contrast: float | None
    skewness: float | None
    kurtosis: float | None
    minimum: float
    maximum: float
