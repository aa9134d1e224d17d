"""Patches of images in an aperture: cut, windowed and set on the background.

All of it is done here, before the image goes to the graphics card, so that what is on the screen is known to
the last level: inside the plateau the pixels of the PNG file, outside the aperture the background.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.shared.trial_list import Patch

Shape = Literal["circle", "square"]


def background_level(fraction_of_white: float) -> int:
    """Return the 8-bit level of the background; mean grey, 0.5, is level 128."""
    return int(np.floor(255 * fraction_of_white + 0.5))


def aperture(side_px: int, shape: Shape, ramp_px: float) -> NDArray[np.float64]:
    """Return the weights of an aperture with a raised-cosine ramp.

    Parameters
    ----------
    side_px
        Side of the patch.
    shape
        "circle": the circle inside the patch. "square": the whole patch.
    ramp_px
        Width of the ramp, inside the patch: w = (1 - cos(pi d / ramp_px)) / 2 at the distance d from the
        edge; 0 for a hard edge.

    Returns
    -------
    ndarray of shape (side_px, side_px), 0 to 1
        1 in the plateau, 0 outside. For a square the product of the ramps along x and y.
    """
    from_centre = np.abs(np.arange(side_px) - (side_px - 1) / 2)
    if shape == "square":
        along = _ramp(side_px / 2 - from_centre, ramp_px)
        return np.outer(along, along).astype(np.float64)
    return _ramp(side_px / 2 - np.hypot(from_centre[:, None], from_centre), ramp_px)


def windowed(patch: Patch, weights: NDArray[np.float64], level: int) -> NDArray[Any]:
    """Return a patch of an image on the background, whose 8-bit level is given.

    Returns
    -------
    ndarray of shape (side, side) or (side, side, 3)
        background + weights * (pixels - background): unchanged pixels where the weight is 1. Of an 8-bit file
        rounded to its levels, uint8; of a 16-bit file fractions of white, float64.
    """
    pixels = _pixels(patch.file)[patch.y : patch.y + patch.side, patch.x : patch.x + patch.side]
    weights = weights if pixels.ndim == 2 else weights[..., None]
    if pixels.dtype == np.uint8:
        return np.rint(level + weights * (pixels.astype(np.float64) - level)).astype(np.uint8)
    return np.asarray(level / 255 + weights * (pixels / 65535 - level / 255))


def _pixels(file: Path) -> NDArray[Any]:
    content = file.read_bytes()
    if content[24] == 8:  # the bit depth in a PNG file's header
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image)
    import cv2  # which comes with PsychoPy; Pillow cuts 16-bit colour to 8 bits

    pixels = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
    return pixels if pixels.ndim == 2 else pixels[..., ::-1]  # from blue, green, red


def _ramp(distance: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    if width == 0:
        return (distance > 0).astype(np.float64)
    return (1 - np.cos(np.pi * np.clip(distance, 0, width) / width)) / 2
