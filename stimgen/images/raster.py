"""PNG, JPEG, BMP, GIF and WebP files, decoded by Pillow."""

from __future__ import annotations

import io
import warnings
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from stimgen.images.pixels import Image, ImageError, Samples, check_size, turn_upright, unit_values

ORIENTATION_TAG = 274
# Pillow cuts 16-bit colour to 8 bits, but its decoder lets the caller say which byte of each sample to
# take: PNG samples are big-endian, so "16B" gives the high bytes and "16L" the low bytes. Grey with alpha
# has 4 bytes a pixel, which come out whole as four 8-bit channels.
TWO_BYTE_LAYOUTS = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}

START_OF_SCAN = b"\xff\xda"
MOST_SCANS = 100
"""A progressive JPEG file has about ten, each of which passes over all pixels."""

PIXELS_PER_BIT = 8 * 8 * 4 * 4
"""Each block of 8 × 8 pixels takes a bit or more, and colours are sampled up to 4 × 4 times less densely."""


def decode_raster(data: bytes, file_format: str, origin: str) -> Samples:
    """Return the samples of a file (also of a TIFF file that Pillow can read), bit by bit exact.

    Palettes become RGB; the orientation tag is applied; colour profiles and gamma tags are not.
    """
    with warnings.catch_warnings():
        # Pillow warns where it leaves something out: a picture, or a tag such as the orientation.
        warnings.filterwarnings("error", category=UserWarning, module=r"PIL\.")
        warnings.filterwarnings("ignore", message="Image appears to be a malformed MPO file")
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        return _decode(data, file_format, origin)


def _decode(data: bytes, file_format: str, origin: str) -> Samples:
    if file_format == "PNG":
        # Loading stops at the last row, and so does not see that the end of the file is missing.
        _open(data, file_format, origin).verify()
    picture = _open(data, file_format, origin)
    width, height = picture.size
    # The further pictures of a JPEG file are previews, depth maps or the other eye's.
    pictures = 1 if file_format == "JPEG" else getattr(picture, "n_frames", 1)
    check_size(width, height, pictures, origin)
    if file_format == "JPEG" and data.count(START_OF_SCAN) > MOST_SCANS:
        raise ImageError(
            f"{origin} would take too long to decode: it has more than {MOST_SCANS} scans.",
            "Save the image as PNG.",
        )
    if file_format == "JPEG" and 8 * len(data) * PIXELS_PER_BIT < width * height:
        # Pixels that the file has no data for would be grey.
        raise ImageError(
            f"{origin} is cut off or damaged: {len(data)} bytes cannot hold {width} × {height} pixels.",
            "Copy the file again.",
        )
    if picture.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I;16B", "I"}:
        raise ImageError(
            f"{origin} has the colour model {picture.mode}; stimgen reads grey and RGB images.",
            "Convert it to RGB in an image editor, where the colour profile to use can be chosen.",
        )
    # Taken before getexif(), which loads a PNG file and so empties the list.
    layout = picture.tile[0][3] if picture.tile else None
    # Pillow turns TIFF files by itself when it loads them.
    orientation = 1 if file_format == "TIFF" else picture.getexif().get(ORIENTATION_TAG, 1)
    if file_format == "PNG" and layout in TWO_BYTE_LAYOUTS:
        samples, bits = _two_byte_samples(data, str(layout), origin), 16
    else:
        samples, bits = _samples(picture)
    alpha = _alpha(samples, bits, layout, picture.info.get("transparency"))
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        samples = samples[:, :, :-1]
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    alpha = None if alpha is None else turn_upright(alpha, orientation)
    return Samples(turn_upright(samples, orientation), bits, alpha)


def _open(data: bytes, file_format: str, origin: str) -> ImageFile:
    try:
        return Pillow.open(io.BytesIO(data), formats=[file_format])
    except UnidentifiedImageError:
        raise ImageError(
            f"{origin} is a damaged or cut-off {file_format} file: its header makes no sense.",
            "Copy the file again, or open it in an image editor and save it as PNG.",
        ) from None
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise ImageError(
            f"{origin} claims more pixels than stimgen reads. {error}",
            "Crop or shrink the image in an image editor.",
        ) from error


def _samples(picture: ImageFile) -> tuple[NDArray[Any], int]:
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8), 1
    if picture.mode in {"P", "PA"}:
        opaque = picture.mode == "P" and "transparency" not in picture.info
        return np.asarray(picture.convert("RGB" if opaque else "RGBA")), 8
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16), 16
    return np.asarray(picture), 8


def _two_byte_samples(data: bytes, layout: str, origin: str) -> NDArray[Any]:
    parts = []
    for raw_mode in TWO_BYTE_LAYOUTS[layout]:
        picture = _open(data, "PNG", origin)
        tiles = [(*tile[:3], raw_mode) for tile in picture.tile]
        picture.tile = cast("Any", tiles)
        parts.append(np.asarray(picture).astype(np.uint16))
    if len(parts) == 1:
        return parts[0][:, :, 0::2] << 8 | parts[0][:, :, 1::2]
    high, low = parts
    return high << 8 | low


def _alpha(samples: NDArray[Any], bits: int, layout: Any, key: Any) -> Image | None:
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        return unit_values(samples[:, :, -1], 2**bits - 1)
    if key is None:
        return None
    # A grey or RGB image may name one colour as transparent (PNG chunk tRNS). Pillow widens grey samples
    # of 2 and 4 bits to 8 bits, but not that colour; white of 1 bit is 1 or 255, by its version.
    scale = {"L;2": 85, "L;4": 17}.get(layout, 1)
    same = samples == (int(key > 0) if bits == 1 else np.asarray(key) * scale)
    return np.asarray(~(same if same.ndim == 2 else same.all(axis=2)), dtype=np.float32)
