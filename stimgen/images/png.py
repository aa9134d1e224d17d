"""Stimuli as 8-bit PNG files, written and read without changing a pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image, ImageError, to_unit_range, unit_values
from stimgen.images.read import decode, read_bytes

RANGE_TOLERANCE = 1e-6
"""How far rounding in float32 may take a value out of 0..1; a grey level is 4e-3."""


def quantise(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the image (H, W) or (H, W, 3), values 0..1, in 8 bits: 255 · value, halves to the even integer.

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
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def encode_png(
    pixels: NDArray[np.uint8], *, text: dict[str, str] | None = None, ppi: float | None = None
) -> bytes:
    """Return a PNG file of 8-bit pixels (H, W) or (H, W, 3), the same bytes for the same arguments.

    The file holds no time, colour profile or gamma, but `text` under keywords of 1 to 79 Latin-1 characters
    and the pixels per inch if they are given. Another version of Pillow or zlib may compress differently.
    """
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
    """Return the pixels of an 8-bit PNG file that may come from anybody, value / 255.

    `file` is its bytes or its path. The pixels are float32 (H, W) or (H, W, 3).
    """
    origin = "The PNG data" if isinstance(file, bytes) else str(file)
    samples, file_format = decode(file if isinstance(file, bytes) else read_bytes(file, origin), origin)
    if file_format != "PNG" or samples.bits != 8:
        raise ImageError(f"{origin} is not an 8-bit PNG file.", "Delete it and run stimgen again.")
    return to_unit_range(samples, origin)


def decode_own_png(png: bytes, written: NDArray[np.uint8] | None = None) -> Image:
    """Return the pixels of a PNG file that `encode_png` made, value / 255.

    It is faster than `decode_png`, which checks bounds and kinds. Other pixels than those `written` are an
    error.
    """
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(png), formats=["PNG"]) as picture:
        pixels = np.asarray(picture)
    if written is not None and not np.array_equal(pixels, written):
        raise StimgenError(
            "A PNG file does not hold the pixels that were written to it.",
            "Reinstall Pillow: pip install --force-reinstall pillow",
        )
    return unit_values(pixels, 8)
