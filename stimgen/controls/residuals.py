"""How far an image is from the statistics of its source that it should share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Relative to the power at frequency zero; below it is the rounding of the transform.
NO_POWER = 1e-24


def spectrum_residual(image: NDArray[np.floating], source: NDArray[np.floating]) -> float:
    """Return the relative error of the 2-D amplitude spectrum.

    With A(u) and A₀(u) the amplitudes of the discrete Fourier transforms of the image and the source, over
    all channels and all frequencies but zero,

        √(Σ (A(u) − A₀(u))² / Σ A₀(u)²).

    Parameters
    ----------
    image, source
        (H, W) or (H, W, 3), of the same shape.

    Returns
    -------
    float
        0 for equal amplitudes; 0 also where the source is constant and there is nothing to differ from.
    """
    before, after = (np.abs(np.fft.fft2(x.astype(np.float64), axes=(0, 1))) for x in (source, image))
    mean_power = float(np.sum(before[0, 0] ** 2))
    before[0, 0] = after[0, 0] = 0.0
    power = float(np.sum(before**2))
    if power <= NO_POWER * mean_power:
        return 0.0
    return float(np.sqrt(np.sum((after - before) ** 2) / power))


def histogram_residual(image: NDArray[np.floating], source: NDArray[np.floating]) -> float:
    """Return the Wasserstein-1 distance between the histograms of two images with as many pixels.

    With x₁ ≤ x₂ ≤ … the sorted values of a channel of the image and y₁ ≤ y₂ ≤ … those of the source, it is
    Σ_k |x_k − y_k| / n, averaged over the channels.

    Parameters
    ----------
    image, source
        (H, W) or (H, W, 3), of the same shape.

    Returns
    -------
    float
        In units of the pixel values; 0 for equal histograms.
    """
    ordered, goal = (np.sort(x.astype(np.float64).reshape(-1, *x.shape[2:]), axis=0) for x in (image, source))
    return float(np.mean(np.abs(ordered - goal)))
