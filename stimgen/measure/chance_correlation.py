"""How much two unrelated images with the same spectrum correlate by chance."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic


@register_statistic(
    "chance_correlation",
    order=32,
    columns=(
        Column(
            "chance_correlation_sd",
            "SD of chance correlations",
            "Standard deviation of the correlation of two images with the power spectrum P of this file and "
            "unrelated random phases, sqrt(sum P^2) / sum P over all frequencies but zero: compare "
            "seed_correlation with it. Large where few low frequencies have most power. Empty for a constant "
            "image.",
        ),
    ),
)
def chance_correlation(image: DecodedImage) -> Values:
    """Return √(Σ P²) / Σ P, P the power at each frequency but zero.

    The correlation of two images with the powers P is Σ P cos θ / Σ P, with θ the difference of their phases.
    For random phases θ is uniform, the same with opposite sign at opposite frequencies, so the mean is 0 and
    the variance is Σ P² / (Σ P)².
    """
    power = np.abs(np.fft.fft2(image.luminance - image.luminance.mean())) ** 2
    total = float(power.sum())
    if image.luminance.min() == image.luminance.max() or not total:
        return {"chance_correlation_sd": None}
    return {"chance_correlation_sd": float(np.sqrt(np.sum(power**2))) / total}
