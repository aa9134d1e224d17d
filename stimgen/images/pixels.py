"""Images in memory: luminance, and differences between the values or the spectra of two images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError

Image = NDArray[np.float32]
"""Float image: (H, W) grey or (H, W, 3) RGB, values 0..1 unless a function says otherwise."""

REC709 = (0.2126, 0.7152, 0.0722)
"""Weights of R, G and B in luminance (ITU-R BT.709-6, item 3.2)."""


class ImageError(InputError):
    """An image file that cannot be used."""


def luminance(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance plane Y = 0.2126 R + 0.7152 G + 0.0722 B of an image (ITU-R BT.709-6, item 3.2).

    The weights are applied to the pixel values as they are, without undoing a display gamma: in vision
    experiments the display is linearised, so that a pixel value is proportional to light. `image` is (H, W)
    or (H, W, 3), and the result (H, W) float64; a grey image is its own luminance.
    """
    if image.ndim == 2:
        return image.astype(np.float64)
    if image.ndim == 3 and image.shape[2] == 3:
        plane: NDArray[np.float64] = image.astype(np.float64) @ np.asarray(REC709)
        return plane
    raise ValueError(f"an image has shape (H, W) or (H, W, 3), not {image.shape}")


def wasserstein_1(values: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Return the Wasserstein-1 distance between two sets of as many values, Σ_k |x_(k) − y_(k)| / n.

    It is how far a value must move, on average, to turn one histogram into the other (Vallender 1974,
    Theory of Probability and its Applications 18, 784–786). Both are sorted along the axis of the pixels;
    over other axes, such as channels, it is the mean.
    """
    return float(np.mean(np.abs(values - targets)))


def relative_error(difference: float, power: float) -> float | None:
    """Return the relative error √(Σ (A − A₀)² / Σ A₀²) of amplitudes; None if A₀ is 0 everywhere.

    `difference` is Σ (A − A₀)² over all frequencies but zero, and `power` is Σ A₀².
    """
    return float(np.sqrt(difference / power)) if power else None
