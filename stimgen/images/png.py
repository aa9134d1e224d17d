"""Stimuli as PNG files of 8 or 16 bits, written and read without changing a pixel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image, ImageError, to_unit_range, unit_values
from stimgen.images.read import decode, read_bytes

RANGE_TOLERANCE = 1e-6
"""How far rounding in float32 may take a value out of 0..1; a grey level is 4e-3."""


def quantise(image: NDArray[np.floating], bits: int = 8) -> NDArray[Any]:
    """Return an image (H, W) or (H, W, 3), values 0..1, as unsigned integers of 8 or 16 bits.

    (2^bits − 1) · value, halves to the even integer.

    >>> quantise(np.array([[0.0, 0.5, 1.0]])).tolist()
    [[0, 128, 255]]
    """
    values = image.astype(np.float64)
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise StimgenError(
            f"An image with {count} values that are not finite cannot be written.",
            "Look for the step that made them; with a synthesis, try another seed or float32 precision.",
        )
    low, high = float(values.min()), float(values.max())
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise StimgenError(
            f"An image with values from {low:.6g} to {high:.6g} cannot be written: 0 is black, 1 is white.",
            "Clip it with clip_to_display first, which says how many pixels that changes.",
        )
    levels: NDArray[Any] = np.rint(np.clip(values, 0, 1) * (2**bits - 1)).astype(f"u{bits // 8}")
    return levels


def encode_png(
    pixels: NDArray[Any], *, text: dict[str, str] | None = None, ppi: float | None = None
) -> bytes:
    """Return a PNG file of uint8 or uint16 pixels (H, W) or (H, W, 3), the same bytes for the same arguments.

    The file holds no time, colour profile or gamma. One of 8 bits holds `text` under keywords of 1 to 79
    Latin-1 characters, and the pixels per inch, if they are given. Another version of Pillow, imagecodecs or
    zlib may compress differently.
    """
    if pixels.dtype == np.uint16:  # Pillow writes no colour of 16 bits
        import imagecodecs

        return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6))
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, words in sorted((text or {}).items()):
        chunks.add_text(keyword, words)
    file = io.BytesIO()
    size = {} if ppi is None else {"dpi": (ppi, ppi)}
    image = Pillow.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "PNG", compress_level=6, pnginfo=chunks, **size)
    return file.getvalue()


def decode_png(file: bytes | Path) -> Image:
    """Return the pixels of a PNG file of 8 or 16 bits that may come from anybody, value / (2^bits − 1).

    `file` is its bytes or its path. The pixels are float32 (H, W) or (H, W, 3).
    """
    origin = "The PNG data" if isinstance(file, bytes) else str(file)
    samples, file_format = decode(file if isinstance(file, bytes) else read_bytes(file, origin), origin)
    if file_format != "PNG" or samples.bits not in (8, 16):
        message = f"{origin} is not a PNG file of 8 or 16 bits."
        raise ImageError(message, "Delete it and run stimgen again.")
    return to_unit_range(samples, origin, 2**samples.bits - 1)


def decode_own_png(png: bytes, written: NDArray[Any]) -> Image:
    """Return the pixels of a PNG file that `encode_png` made of the pixels `written`; others are an error.

    It is faster than `decode_png`, which checks bounds and kinds.
    """
    pixels: NDArray[Any]
    if written.dtype == np.uint16:
        pixels = decode(png, "The PNG data")[0].values
    else:
        from PIL import Image as Pillow

        with Pillow.open(io.BytesIO(png), formats=["PNG"]) as picture:
            pixels = np.asarray(picture)
    if not np.array_equal(pixels, written):
        raise StimgenError(
            "A PNG file does not hold the pixels that were written to it.",
            "Reinstall Pillow: pip install --force-reinstall pillow",
        )
    return unit_values(pixels, np.iinfo(written.dtype).max)
