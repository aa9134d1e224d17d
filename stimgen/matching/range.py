"""Bring an image into the range of a display, and say what that changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image

ROUNDING = 1e-6


def clip_to_display(image: NDArray[np.floating]) -> tuple[Image, float]:
    """Return the image with values below 0 set to 0 and above 1 set to 1, and how many pixels that hit.

    Counted is the share of the pixels of which a channel was outside 0..1 by more than 1e-6, the rounding of
    float32. The image is (H, W) or (H, W, 3).

    Raises
    ------
    StimgenError
        If a value is not finite.

    Examples
    --------
    >>> clip_to_display(np.array([[-0.5, 0.25], [0.5, 1.0]]))[1]
    0.25
    """
    if not np.isfinite(image).all():
        raise StimgenError(
            "An image with values that are not finite has no range.", "Look for the step that made them."
        )
    outside = (image < -ROUNDING) | (image > 1 + ROUNDING)
    pixels = outside.any(axis=2) if outside.ndim == 3 else outside
    return np.clip(image, 0, 1).astype(np.float32), float(pixels.mean())
