"""First-order statistics of an image's luminance."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic


@register_statistic(
    "luminance",
    order=10,
    any_place=True,
    columns=(
        Column(
            "luminance_mean",
            "Mean luminance",
            "Mean over pixels; 0 is black, 1 is white.",
            "fraction of white",
        ),
        Column(
            "luminance_sd",
            "SD of luminance",
            "Standard deviation over pixels (divisor n).",
            "fraction of white",
            "Peli (1990), J. Opt. Soc. Am. A 7:2032",
        ),
        Column(
            "rms_contrast",
            "RMS contrast",
            "Standard deviation divided by mean; empty for a black image.",
            "",
            "Moulden, Kingdom & Gatley (1990), Perception 19:79",
        ),
        Column(
            "luminance_skewness",
            "Skewness of luminance",
            "m3 / m2^1.5 of the pixels; empty for a constant image.",
        ),
        Column(
            "luminance_kurtosis",
            "Kurtosis of luminance",
            "m4 / m2^2 of the pixels (3 for a normal distribution); empty for a constant image.",
        ),
        Column("luminance_min", "Smallest luminance", "Smallest pixel value.", "fraction of white"),
        Column("luminance_max", "Largest luminance", "Largest pixel value.", "fraction of white"),
    ),
)
def luminance_statistics(image: DecodedImage) -> Values:
    """Measure the distribution of luminance values over the pixels of an image, in float64.

    With x the luminance (the pixel value itself in grey images), n pixels, and central moments
    m_k = Σ (x − mean)^k / n:

    - sd = √m₂. Peli (1990) calls this the rms contrast of normalised luminance.
    - rms_contrast = sd / mean, which does not change when all luminances are scaled (Moulden et al. 1990).
    - skewness = m₃ / m₂^(3/2).
    - kurtosis = m₄ / m₂², Pearson's: 3 for a normal distribution, not 0.

    The rms contrast of a black image, and skewness and kurtosis of a constant one, are not defined.

    Examples
    --------
    >>> found = luminance_statistics(DecodedImage(np.array([[0.25, 0.75]])))
    >>> found["luminance_mean"], found["luminance_sd"], found["rms_contrast"], found["luminance_kurtosis"]
    (0.5, 0.25, 0.5, 1.0)
    """
    values = image.luminance
    low, high = float(values.min()), float(values.max())
    mean, m2 = float(values.mean()), 0.0
    skewness = kurtosis = None
    if low == high:
        mean = low  # rounding in the mean would leave moments of 1e-17, whose ratios mean nothing
    else:
        deviations = values - mean
        squares = deviations**2
        # Powers of 3 and 4 as products: twenty times as fast.
        m2, m3, m4 = (float(np.mean(power)) for power in (squares, squares * deviations, squares**2))
        skewness, kurtosis = m3 / m2**1.5, m4 / m2**2
    return {
        "luminance_mean": mean,
        "luminance_sd": m2**0.5,
        "rms_contrast": m2**0.5 / mean if mean else None,
        "luminance_skewness": skewness,
        "luminance_kurtosis": kurtosis,
        "luminance_min": low,
        "luminance_max": high,
    }
