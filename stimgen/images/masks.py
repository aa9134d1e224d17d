"""Sources of which only a part counts: objects cut out of a transparent image, or what a mask shows white."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image, ImageError, luminance
from stimgen.images.read import RawImage, read_bytes, read_image

Inside = NDArray[np.bool_]
"""(H, W), whether a pixel counts."""


def read_mask(mask: str | Path, raw: RawImage) -> Inside:
    """Return which pixels of an image count.

    With "alpha" they are the opaque ones, because those that are partly so may be mixed with a background.
    Of a mask file of the image's size they are those whose luminance is 0.5 or more.
    """
    if isinstance(mask, Path):
        plane = luminance(read_image(mask).pixels)
        if plane.shape != raw.pixels.shape[:2]:
            sizes = (f"{width} × {height}" for height, width in (plane.shape, raw.pixels.shape[:2]))
            raise ImageError(
                f"The mask {mask} is {next(sizes)} px, and {raw.origin} {next(sizes)} px.",
                "Give the mask the size of the image.",
            )
        return np.asarray(plane >= 0.5)
    if raw.alpha is None:
        raise ImageError(
            f"{raw.origin} has no alpha channel to be a mask.",
            "Save it with transparency, name a mask file, or leave mask out.",
        )
    return np.asarray(raw.alpha == 1)


def place_inside(values: Image, inside: Inside) -> Image:
    """Return an image with `values` (n,) or (n, 3) inside, and their mean, of each channel, outside."""
    image = np.empty((*inside.shape, *values.shape[1:]), np.float32)
    image[:] = values.mean(axis=0, dtype=np.float64)
    image[inside] = values
    return image


def mask_identity(mask: str | Path | None) -> str | None:
    """Return what a record says of a mask: "alpha", or the SHA-256 of its file; None without one."""
    if isinstance(mask, Path):
        return f"sha256:{hashlib.sha256(read_bytes(mask, str(mask))).hexdigest()}"
    return mask
