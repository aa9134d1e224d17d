"""Differences between the pixel values, and between the spectra, of two images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wasserstein_1(values: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Return the Wasserstein-1 distance between two sets of as many values, Σ_k |x_(k) − y_(k)| / n.

    It is how far a value must move, on average, to turn one histogram into the other (Vallender 1974,
    Theory of Probability and its Applications 18, 784–786).

    Parameters
    ----------
    values, targets
        Sorted along the axis of the pixels, of one shape. Over other axes, such as channels, it is the mean.

    Examples
    --------
    >>> wasserstein_1(np.array([0.0, 0.5]), np.array([0.0, 1.0]))
    0.25
    """
    return float(np.mean(np.abs(values - targets)))


def relative_error(difference: float, power: float) -> float | None:
    """Return the relative error √(Σ (A − A₀)² / Σ A₀²) of amplitudes; None if A₀ is 0 everywhere.

    Parameters
    ----------
    difference
        Σ (A − A₀)² over all frequencies but zero.
    power
        Σ A₀².

    Examples
    --------
    >>> relative_error(1.0, 4.0)
    0.5
    """
    return float(np.sqrt(difference / power)) if power else None
