"""Mean and contrast of a plane, and planes that are given others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError

# Relative to the image's largest value; below it is the rounding of the mean.
NO_CONTRAST = 1e-12


def mean_and_sd(plane: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean over the pixels and the standard deviation (divisor n), in float64.

    Standard deviations below 10⁻¹² of the largest value are rounding, and are returned as 0.
    """
    values = plane.astype(np.float64)
    mean, sd = float(values.mean()), float(values.std())
    return mean, 0.0 if sd <= NO_CONTRAST * float(np.abs(values).max()) else sd


def match_luminance(plane: NDArray[np.floating], mean: float, sd: float) -> NDArray[np.float64]:
    """Return the plane with another mean and standard deviation, and so another RMS contrast, SD / mean.

    x' = (x − m) · SD₀ / SD + mean₀, with m and SD of the plane. Values may leave 0..1. A constant plane
    raises StimgenError, unless SD₀ is 0.
    """
    own_mean, own_sd = mean_and_sd(plane)
    if own_sd == 0:
        if sd > 0:
            raise StimgenError(
                "A constant image, or channel of one, has no contrast, and no factor gives it another's.",
                "In colour try channels: luminance; or leave out the matching of luminance, or this source "
                "or condition.",
            )
        return np.full(plane.shape, mean, dtype=np.float64)
    return (plane.astype(np.float64) - own_mean) * (sd / own_sd) + mean
