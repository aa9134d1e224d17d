"""Decoded samples of an image file of any format, and their conversion to values 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image, ImageError

MAX_PIXELS = 2**26
"""Largest width × height that is read, 8192 × 8192: a small file can claim to be a huge image."""


@dataclass(frozen=True)
class Samples:
    """Samples of one picture, upright, without their alpha channel.

    `values` are (H, W) or (H, W, 3), unsigned integers of `bits` bits or, if `bits` is None, floats;
    `transparent` is the number of pixels that are not fully opaque.
    """

    values: NDArray[Any]
    bits: int | None
    transparent: int = 0


def refuse_too_many_pixels(width: int, height: int, origin: str) -> None:
    """Raise `ImageError`, before memory is taken, for an image of more than `MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{origin} is {width} × {height} pixels; stimgen reads at most {MAX_PIXELS} pixels "
            f"({int(MAX_PIXELS**0.5)} × {int(MAX_PIXELS**0.5)}).",
            "Crop or shrink the image in an image editor.",
        )


def refuse_several_pages(count: int, origin: str) -> None:
    """Raise `ImageError` unless a file holds one picture: it is not known which of several is meant."""
    if count != 1:
        raise ImageError(
            f"{origin} holds {count} pictures (pages, frames of an animation, or previews).",
            "Save the one that you mean as a PNG file.",
        )


def turn_upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return samples (H, W) or (H, W, C) turned as the orientation tag 274 says (TIFF 6.0, section 8)."""
    transposed = samples.swapaxes(0, 1)
    turned = {
        2: samples[:, ::-1],
        3: samples[::-1, ::-1],
        4: samples[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }
    return turned.get(orientation, samples)


def to_unit_range(decoded: Samples, origin: str) -> Image:
    """Return the colour samples as float32 values 0..1; transparent pixels and values outside are errors.

    An integer v of b bits becomes v / (2^b − 1): black is 0, white is 1. Floats are kept as they are.
    """
    values = decoded.values
    if decoded.transparent:
        share = f"{decoded.transparent} of {values.shape[0] * values.shape[1]}"
        raise ImageError(
            f"{origin} has transparent pixels ({share}); what lies behind them is not known.",
            "Flatten the image onto a background in an image editor, or remove its alpha channel.",
        )
    if decoded.bits is not None:
        return unit_values(values.astype(np.uint8) if values.dtype == bool else values, decoded.bits)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ImageError(
            f"{origin} has {bad} samples that are not finite (NaN or infinity).",
            "Replace them, or save the image with integer samples.",
        )
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"{origin} has float samples from {low:g} to {high:g}, where 0 is black and 1 is white.",
            "Divide by the value of white before you save it, or save it with 8- or 16-bit integers.",
        )
    return np.asarray(values, dtype=np.float32)


def unit_values(values: NDArray[Any], bits: int) -> Image:
    """Return integers v of b bits as v / (2^b − 1) in float32."""
    # Looked up, because the quotients in double precision would take twice the memory of the result.
    white = 2**bits - 1
    table = (np.arange(white + 1) / np.float64(white)).astype(np.float32)
    return np.asarray(table[values])
