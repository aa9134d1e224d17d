"""TIFF files, decoded by tifffile, which keeps 16-bit colour and floats, after their tags are checked."""

from __future__ import annotations

import io
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stimgen.images.pixels import ImageError, Samples, check_size, turn_upright
from stimgen.images.raster import ORIENTATION_TAG, decode_raster

# Pillow's libtiff reads the others up to 8 bits of colour or 16 of grey.
OWN_COMPRESSIONS = {"NONE", "PACKBITS", "DEFLATE", "ADOBE_DEFLATE", "LZW"}
DEFLATE = {"DEFLATE", "ADOBE_DEFLATE"}
COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3}
MOST_PAGES = 100
"""How many pages are counted: a chain of pages can be endless."""
MAX_SAMPLE_VALUE_TAG = 281
MOST_SAMPLES = 4
AGAIN = "Copy it again, or save it again as PNG."


def decode_tiff(data: bytes, origin: str) -> Samples:
    """Return the samples of a TIFF file, bit by bit exact: 1, 8 or 16 bits, or floats.

    White-is-zero images are inverted, palettes become RGB, the orientation tag is applied; colour profiles
    are not.
    """
    import tifffile

    # Files of these kinds name other files, which would be opened, too.
    alone: dict[str, Any] = {
        f"is_{kind}": False for kind in ("mmstack", "ndtiff", "ome") if kind in tifffile.TIFF.FILE_FLAGS
    }
    with _logged_errors(origin), tifffile.TiffFile(io.BytesIO(data), **alone) as file:
        _check_tags(file, data, origin)
        page: Any = file.pages.first
        compression, photometric = _name(page.compression), _name(page.photometric)
        floats, bits = page.dtype.kind == "f", page.bitspersample
        integers = page.sampleformat == 1 and bits in (1, 8, 16)
        colours = page.samplesperpixel - len(page.extrasamples)
        if compression in OWN_COMPRESSIONS:
            readable = COLOURS.get(photometric) == colours and (floats or integers)
        else:
            grey = page.samplesperpixel == 1 and photometric == "MINISBLACK"
            readable = integers and (bits < 16 or grey)
        if not readable:
            kind = {1: "integer", 2: "signed", 3: "float", 6: "complex"}.get(page.sampleformat, "unknown")
            raise ImageError(
                f"{origin} is a TIFF file of a kind that stimgen does not read: {page.samplesperpixel} × "
                f"{bits}-bit {kind} samples, colour model {photometric}, compression {compression}.",
                "Save it as PNG, or uncompressed as grey or RGB with 8- or 16-bit integers or floats.",
            )
        if compression not in OWN_COMPRESSIONS:
            return decode_raster(data, "TIFF", origin)
        _check_parts(page, compression, data, origin)
        samples = page.asarray()
        tag = page.tags.get(ORIENTATION_TAG)
        if bits == 16 and int(samples.max()) < 2 ** (stated := _stated_bits(file)):
            bits = stated
    if page.axes.startswith("S"):
        samples = np.moveaxis(samples, 0, -1)
    white = 1 if floats else 2**bits - 1
    alpha = None
    if page.extrasamples:
        alpha = (samples[:, :, colours:].min(axis=2) / white).astype(np.float32)
        samples = samples[:, :, 0] if colours == 1 else samples[:, :, :colours]
    if photometric == "MINISWHITE":
        samples = ~samples if samples.dtype == bool else white - samples
    if photometric == "PALETTE":
        samples, bits = np.moveaxis(page.colormap[:, samples], 0, -1), 16
    orientation = 1 if tag is None else int(tag.value)
    alpha = None if alpha is None else turn_upright(alpha, orientation)
    return Samples(turn_upright(samples, orientation), None if floats else bits, alpha)


def _stated_bits(file: Any) -> int:
    """Return how many of 16 bits a file says that it uses, such as 12 of a camera's; 16 if it says nothing.

    That is the tag MaxSampleValue, or the display range of ImageJ if it begins at 0. Either may also be the
    largest value of this image or a setting of its contrast, so only numbers 2^b - 1 count.
    """
    tag = file.pages.first.tags.get(MAX_SAMPLE_VALUE_TAG)
    shown = file.imagej_metadata or {}
    largest = [int(value) for value in np.ravel(tag.value)] if tag else []
    largest += [int(shown["max"])] if "max" in shown and not shown.get("min") else []
    return next((bits for bits in range(9, 16) if 2**bits - 1 in largest), 16)


def _name(tag_value: Any) -> str:
    return str(getattr(tag_value, "name", tag_value))


@contextmanager
def _logged_errors(origin: str) -> Iterator[None]:
    """Raise `ImageError` if tifffile logs an error about a damaged file, which it does not raise."""
    seen: list[str] = []
    logger = logging.getLogger("tifffile")
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
    if seen:
        raise ImageError(f"{origin} is damaged: {seen[0]}.", AGAIN)


def _check_tags(file: Any, data: bytes, origin: str) -> None:
    """Raise unless a file has one page, whose tags agree with each other and with the file's length."""
    page: Any = file.pages.first
    pages = _count_pages(file)
    if pages == 1:
        pages = page.imagedepth * sum(len(series) for series in file.series)
    check_size(page.imagewidth, page.imagelength, pages, origin)
    if page.is_tiled:
        check_size(page.tilewidth, page.tilelength, pages, origin)
    if page.samplesperpixel > MOST_SAMPLES:
        raise ImageError(
            f"{origin} has {page.samplesperpixel} channels; stimgen reads grey and RGB images.",
            "Save it as grey or RGB, without further channels.",
        )
    offsets, counts = page.dataoffsets, page.databytecounts
    fits = page.dtype and len(offsets) == len(counts) == math.prod(page.chunked)
    if not fits or any(map(lambda offset, count: offset + count > len(data), offsets, counts)):
        raise ImageError(
            f"{origin} is damaged or cut off: its tags contradict each other, or its length.", AGAIN
        )


def _check_parts(page: Any, compression: str, data: bytes, origin: str) -> None:
    """Raise unless every strip or tile holds its pixels: no fewer, which would be black, and no more.

    Parts that hold more could fill the memory when they are decoded.
    """
    import imagecodecs

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
        elif compression in ("LZW", "PACKBITS"):
            unpack = imagecodecs.lzw_decode if compression == "LZW" else imagecodecs.packbits_decode
            size = len(unpack(part, out=most + 1))
        else:
            size, most = count, len(data)
        if not least <= size <= most:
            amount = "fewer" if size < least else "more"
            raise ImageError(f"{origin} is damaged: a part of it holds {amount} than its pixels.", AGAIN)


def _count_pages(file: Any) -> int:
    for count in range(1, MOST_PAGES):
        try:
            file.pages.get(count)
        except IndexError:
            return count
    return MOST_PAGES
