"""Images in memory, their luminance, and the error for image files that cannot be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError

Image = NDArray[np.float32]
"""Float image: (H, W) grey or (H, W, 3) RGB, values 0..1 unless a function says otherwise."""

REC709 = (0.2126, 0.7152, 0.0722)
"""Weights of R, G and B in luminance (ITU-R BT.709-6, item 3.2)."""


class ImageError(InputError):
    """An image file that cannot be used; names the file, the cause and what to do."""


def luminance(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance plane Y = 0.2126 R + 0.7152 G + 0.0722 B of an image.

    The weights are applied to the pixel values as they are, without undoing a display gamma: in vision
    experiments the display is linearised, so that a pixel value is proportional to light.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3) floats.

    Returns
    -------
    ndarray of float64, shape (H, W)
        The image itself if it is grey.

    Raises
    ------
    ValueError
        If `image` has another shape.

    References
    ----------
    ITU-R Recommendation BT.709-6 (2015), item 3.2.

    Examples
    --------
    >>> float(luminance(np.full((2, 2, 3), 0.5, dtype=np.float32))[0, 0])
    0.5
    """
    if image.ndim == 2:
        return image.astype(np.float64)
    if image.ndim == 3 and image.shape[2] == 3:
        plane: NDArray[np.float64] = image.astype(np.float64) @ np.asarray(REC709)
        return plane
    raise ValueError(f"an image has shape (H, W) or (H, W, 3), not {image.shape}")
