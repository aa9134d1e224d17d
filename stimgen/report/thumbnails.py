"""Small pictures that a report carries, and what is measured on the files for its plots."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from stimgen.images.pixels import Image, luminance
from stimgen.images.png import decode_png, quantise
from stimgen.report.reported import Entry

SIDES_PX = ((60, 192), (300, 128), (800, 96))
"""Up to how many stimuli thumbnails have which side; `SMALLEST_PX` beyond."""
SMALLEST_PX = 72
QUALITY = 70
"""Of WebP."""
HISTOGRAM_BINS = 64


@dataclass(frozen=True, eq=False)
class Picture:
    """What a report shows of one file.

    Attributes
    ----------
    thumbnail
        Data URI, WebP.
    histogram
        Share of the pixels per bin of luminance, 0 to 1 in `HISTOGRAM_BINS` bins.
    """

    thumbnail: str
    histogram: NDArray[np.float32]


def thumbnail_side(stimuli: int) -> int:
    """Return the side of the thumbnails, px: smaller where there are many, so that the page stays small.

    Examples
    --------
    >>> thumbnail_side(30), thumbnail_side(2000)
    (192, 72)
    """
    return next((side for most, side in SIDES_PX if stimuli <= most), SMALLEST_PX)


def picture(entry: Entry, side_px: int) -> Picture:
    """Return the thumbnail and the luminance histogram of a stimulus.

    Raises
    ------
    ImageError
        If its file is no intact PNG file of 8 bits.
    """
    pixels = decode_png(entry.png)
    counts, _ = np.histogram(luminance(pixels), bins=HISTOGRAM_BINS, range=(0, 1))
    return Picture(webp(pixels, side_px), (counts / counts.sum()).astype(np.float32))


def webp(pixels: Image, side_px: int | None = None) -> str:
    """Return an image as a data URI: lossless in its own size, or made smaller to a side and compressed."""
    image = Pillow.fromarray(quantise(pixels)).convert("RGB")
    if side_px is not None:
        image.thumbnail((side_px, side_px), Pillow.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=side_px is None, quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
