"""What a TIFF file claims, held against bounds before it is decoded."""

from __future__ import annotations

import math
import zlib
from typing import Any

from stimgen.images.errors import ImageError
from stimgen.images.samples import refuse_several_pages, refuse_too_many_pixels

MOST_PAGES = 100
"""How many pages are counted: a chain of pages can be endless."""
MOST_SAMPLES = 4
DEFLATE = {"DEFLATE", "ADOBE_DEFLATE"}


def check_claims(file: Any, data: bytes, origin: str) -> None:
    """Raise unless a file has one page, whose tags agree with each other and with the file's length.

    Parameters
    ----------
    file
        An open `tifffile.TiffFile`.
    data
        The whole file.
    origin
        Name of the file in messages.

    Raises
    ------
    ImageError
        If it has several pages, is too large, cut off, or claims what cannot be.
    """
    refuse_several_pages(_count_pages(file), origin)
    refuse_several_pages(sum(len(series) for series in file.series), origin)
    page: Any = file.pages.first
    refuse_too_many_pixels(page.imagewidth, page.imagelength, origin)
    refuse_several_pages(page.imagedepth, origin)
    if page.is_tiled:
        refuse_too_many_pixels(page.tilewidth, page.tilelength, origin)
    if page.samplesperpixel > MOST_SAMPLES:
        raise ImageError(
            f"{origin} has {page.samplesperpixel} channels; stimgen reads grey and RGB images.",
            "Save it as grey or RGB, without further channels.",
        )
    offsets, counts = page.dataoffsets, page.databytecounts
    if not page.dtype or len(offsets) != len(counts) or len(offsets) != math.prod(page.chunked):
        raise ImageError(
            f"{origin} is damaged: its tags contradict each other.", "Copy it again, or save it again as PNG."
        )
    if any(offset + count > len(data) for offset, count in zip(offsets, counts, strict=True)):
        raise ImageError(f"{origin} is cut off: pixels are missing at its end.", "Copy the file again.")


def check_parts(page: Any, compression: str, data: bytes, origin: str) -> None:
    """Raise unless every strip or tile holds its pixels: no fewer, which would be black, and no more.

    Parts that hold more could fill the memory when they are decoded.

    Parameters
    ----------
    page
        The `tifffile.TiffPage`, whose claims `check_claims` has found possible.
    compression
        Its compression, one of those that tifffile decodes itself.
    data
        The whole file.
    origin
        Name of the file in messages.

    Raises
    ------
    ImageError
        If one does not, or its compressed data are damaged.
    """
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width, height = (
        (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    )
    row_bytes = math.ceil(width * samples * page.bitspersample / 8)
    height = min(height, page.tilelength if page.is_tiled else page.imagelength)
    strips = math.ceil(page.imagelength / height)
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        # The last strip may be lower, but some programs fill it up.
        is_last = not page.is_tiled and index % strips == strips - 1
        least = row_bytes * (page.imagelength - height * (strips - 1) if is_last else height)
        most = row_bytes * height
        part = data[offset : offset + count]
        if compression in DEFLATE:
            size = len(zlib.decompressobj().decompress(part, most + 1))
        elif compression == "PACKBITS":
            size = _unpacked(part, most)
        else:
            size, most = count, len(data)
        if not least <= size <= most:
            amount = "fewer" if size < least else "more"
            raise ImageError(
                f"{origin} is damaged: a part of it holds {amount} than its pixels.",
                "Copy it again, or save it again as PNG.",
            )


def _count_pages(file: Any) -> int:
    for count in range(1, MOST_PAGES):
        try:
            file.pages.get(count)
        except IndexError:
            return count
    return MOST_PAGES


def _unpacked(part: bytes, most: int) -> int:
    """Return how many bytes PackBits data stand for; no more than one run above `most` is counted."""
    size = place = 0
    while place < len(part) and size <= most:
        head = part[place]
        if head < 128:
            size += min(head + 1, len(part) - place - 1)
            place += head + 2
        else:
            size += 257 - head if head > 128 else 0
            place += 2 if head > 128 else 1
    return size
