"""TIFF files, decoded by tifffile, which keeps 16-bit colour and floats."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.images.errors import ImageError
from stimgen.images.raster import ORIENTATION_TAG, decode_raster
from stimgen.images.samples import Samples, turn_upright
from stimgen.images.tiff_bounds import check_claims, check_parts

# The others need the imagecodecs package; Pillow's libtiff reads them up to 8 bits of colour or 16 of grey.
OWN_COMPRESSIONS = {"NONE", "PACKBITS", "DEFLATE", "ADOBE_DEFLATE"}
COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3}


def decode_tiff(data: bytes, origin: str) -> Samples:
    """Return the samples of a TIFF file, bit by bit exact.

    Parameters
    ----------
    data
        The whole file.
    origin
        Name of the file in messages.

    Returns
    -------
    Samples
        Of 1, 8 or 16 bits, or floats. White-is-zero images are inverted, palettes become RGB, the
        orientation tag is applied; colour profiles are not.

    Raises
    ------
    ImageError
        If the file is damaged, too large, has several pages or other samples.
    """
    import tifffile

    # What these kinds of file name would be opened, too.
    alone: dict[str, Any] = {
        f"is_{kind}": False for kind in ("mmstack", "ndtiff", "ome") if kind in tifffile.TIFF.FILE_FLAGS
    }
    with _faults(origin), tifffile.TiffFile(io.BytesIO(data), **alone) as file:
        check_claims(file, data, origin)
        page: Any = file.pages.first
        compression, photometric = _name(page.compression), _name(page.photometric)
        if compression not in OWN_COMPRESSIONS:
            two_bytes = page.bitspersample == 16 and page.samplesperpixel == 1 and photometric == "MINISBLACK"
            if page.sampleformat != 1 or not (page.bitspersample in (1, 8) or two_bytes):
                raise _unreadable(page, origin)
            return decode_raster(data, "TIFF", origin)
        floats = page.dtype is not None and page.dtype.kind == "f"
        integers = page.sampleformat == 1 and page.bitspersample in (1, 8, 16)
        colours = page.samplesperpixel - len(page.extrasamples)
        if COLOURS.get(photometric) != colours or not (floats or integers):
            raise _unreadable(page, origin)
        check_parts(page, compression, data, origin)
        samples = page.asarray()
        if page.axes.startswith("S"):
            samples = np.moveaxis(samples, 0, -1)
        tag = page.tags.get(ORIENTATION_TAG)
        return _in_colour(samples, page, photometric, floats, 1 if tag is None else int(tag.value))


def _in_colour(samples: NDArray[Any], page: Any, photometric: str, floats: bool, orientation: int) -> Samples:
    bits = None if floats else int(page.bitspersample)
    white = 1 if bits is None else 2**bits - 1
    transparent = 0
    if page.extrasamples:
        colours = page.samplesperpixel - len(page.extrasamples)
        transparent = int(np.count_nonzero((samples[:, :, colours:] != white).any(axis=2)))
        samples = samples[:, :, 0] if colours == 1 else samples[:, :, :colours]
    if photometric == "MINISWHITE":
        samples = ~samples if samples.dtype == bool else white - samples
    if photometric == "PALETTE":
        samples, bits = np.moveaxis(page.colormap[:, samples], 0, -1), 16
    return Samples(turn_upright(samples, orientation), bits, transparent)


def _name(tag_value: Any) -> str:
    return str(getattr(tag_value, "name", tag_value))


def _unreadable(page: Any, origin: str) -> ImageError:
    kind = {1: "integer", 2: "signed", 3: "float", 6: "complex"}.get(page.sampleformat, "unknown")
    return ImageError(
        f"{origin} is a TIFF file of a kind that stimgen does not read: {page.samplesperpixel} × "
        f"{page.bitspersample}-bit {kind} samples, colour model {_name(page.photometric)}, "
        f"compression {_name(page.compression)}.",
        "Save it as grey or RGB with 8- or 16-bit integers or floats, without compression, or as PNG.",
    )


@contextmanager
def _faults(origin: str) -> Iterator[None]:
    """Turn what tifffile only logs about a damaged file into an error."""
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
        raise ImageError(f"{origin} is damaged: {seen[0]}.", "Copy it again, or save it again as PNG.")
