"""Differences between the pixel values, and between the spectra, of two images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wasserstein_1(values: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Return the Wasserstein-1 distance between two sets of as many values, Σ_k |x_(k) − y_(k)| / n.

    It is how far a value must move, on average, to turn one histogram into the other (Vallender 1974, Theory
    of Probability and its Applications 18, 784–786). Both are sorted along the axis of the pixels. Over other
    axes, such as channels, it is the mean.
    """
    return float(np.mean(np.abs(values - targets)))


def relative_error(difference: float, power: float) -> float | None:
    """Return √(difference / power), with Σ (A − A₀)² and Σ A₀² of amplitudes; None if A₀ is 0 everywhere."""
    return float(np.sqrt(difference / power)) if power else None
