"""Read an image file: its pixels as values 0..1 and the identity of its bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import re
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path

from stimgen.bounded import read_file
from stimgen.errors import InputError, nearest
from stimgen.images.pixels import Image, ImageError, Samples, to_unit_range

SKIMAGE_PREFIX = "skimage:"
ORIENTATION_TAG = 274
# The names that messages offer; the diagrams, texts and test patterns beside them can be read too.
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "ihc", "moon", "motorcycle_left", "motorcycle_right", "retina", "rocket",
)  # fmt: skip
SIGNATURES = {
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"\xff\xd8\xff": "JPEG",
    rb"II[*+]\0|MM\0[*+]": "TIFF",
    rb"P[1-6]\s": "PNM",
    rb"BM.{4}\0{4}": "BMP",
    rb"GIF8[79]a": "GIF",
    rb"RIFF.{4}WEBP": "WEBP",
}
"""How files of the formats that are read begin, as regular expressions."""
READ = "PNG, TIFF, JPEG, PGM, PPM, PBM, BMP, GIF or WebP"
ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".pgm", ".ppm", ".pnm", ".pbm", ".bmp", ".gif", ".webp")
OTHERS = {
    rb"#\?RADIANCE|#\?RGBE": "a Radiance (HDR) image",
    rb"v/1\x01": "an OpenEXR image",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000 image",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "a JPEG XL image",
    rb".{4}ftyp(heic|heix|mif1|hevc)": "a HEIC photograph",
    rb".{4}ftypavif": "an AVIF image",
    rb"8BPS": "a Photoshop document",
    rb"%PDF": "a PDF document",
    rb"SIMPLE  =": "a FITS image",
    rb"\x93NUMPY": "a NumPy array",
    rb"MATLAB 5.0|\x89HDF": "a MATLAB or HDF5 file",
    rb".{128}DICM": "a DICOM image",
    rb"P7\s|P[Ff]\s": "a PAM or PFM image",
}
"""How files of other formats begin, and what a message calls them."""
MAX_BYTES = 2**30
"""Largest file that is read; one of `stimgen.images.pixels.MAX_PIXELS` has 0.4 GB in RGB with 16 bits."""


@dataclass(frozen=True)
class RawImage:
    """An image file: its pixels (H, W) or (H, W, 3), float32, values 0..1, and the SHA-256 of its bytes.

    `origin` is the path as given, or "skimage:NAME (scikit-image VERSION)". `bits` is the number of bits per
    integer sample, None for float samples, and `alpha` the alpha channel (H, W), 0..1, if there is one.
    """

    pixels: Image
    sha256: str
    origin: str
    file_format: str
    bits: int | None
    alpha: Image | None = None


def read_image(image: str | Path, *, white: int | None = None, transparent: bool = False) -> RawImage:
    """Read an image file, or an image that comes with scikit-image ("skimage:brick").

    Formats are PNG, TIFF, JPEG, PGM, PPM, PBM, BMP, GIF and WebP; of the several pictures in a phone's JPEG
    file, the first is read. The content decides about the format, not the file name. Integers of b bits
    become v / (2^b − 1), or v / `white`, floats must lie in 0..1. The orientation tag of cameras is applied.
    Colour profiles and gamma tags are not: a pixel value is taken as it is, as the experiment's display will
    take it. `ImageError` is raised if there is no such file, or if it is damaged, neither grey nor RGB, not
    one picture, or has more than 8192 × 8192 pixels, or transparent ones that `transparent` does not allow.
    """
    if isinstance(image, str) and image.startswith(SKIMAGE_PREFIX):
        path = skimage_path(image.removeprefix(SKIMAGE_PREFIX))
        origin = f"{image} (scikit-image {importlib.metadata.version('scikit-image')})"
    else:
        path, origin = Path(image), str(image)
    data = read_bytes(path, origin)
    samples, file_format = decode(data, origin)
    return RawImage(
        pixels=to_unit_range(samples, origin, white, transparent=transparent),
        sha256=hashlib.sha256(data).hexdigest(),
        origin=origin,
        file_format=file_format,
        bits=samples.bits,
        alpha=samples.alpha,
    )


def image_size(image: str | Path) -> tuple[int, int]:
    """Return height and width of an image file, upright, from its header; raise `ImageError` as `read_image`.

    What only decoding shows, such as transparency or a cut-off end, is not found.
    """
    from PIL import Image as Pillow

    if isinstance(image, str) and image.startswith(SKIMAGE_PREFIX):
        image = skimage_path(image.removeprefix(SKIMAGE_PREFIX))
    data = read_bytes(Path(image), str(image))
    format_of(data, str(image))
    try:
        with warnings.catch_warnings(action="ignore"), Pillow.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ORIENTATION_TAG, 1) >= 5
            return (width, height) if turned else (height, width)
    except Exception:  # Pillow does not read all that is read here, and raises errors of many classes
        height, width = decode(data, str(image))[0].values.shape[:2]
        return height, width


def skimage_path(name: str) -> Path:
    """Return the path of a still image in scikit-image's package, without importing the package."""
    folders = _skimage_folders()
    if not folders:
        raise ImageError(f"skimage:{name} needs scikit-image.", "Install it: pip install scikit-image.")
    files = [path for folder in folders for path in folder.iterdir() if path.suffix in (".png", ".jpg")]
    known = {path.stem: path for path in reversed(files)}
    if name not in known:
        offered = [photograph for photograph in PHOTOGRAPHS if photograph in known]
        raise ImageError(f'scikit-image ships no image "{name}".', nearest(name, offered))
    return known[name]


def skimage_file(name: str) -> Path | None:
    """Return the path of a data file of scikit-image, such as "camera.png"; None if it does not ship it."""
    return next((path for folder in _skimage_folders() if (path := folder / name).is_file()), None)


def _skimage_folders() -> list[Path]:
    """Return the folders with scikit-image's images: in ``_skimage2`` after version 0.26.

    The packages are not imported, which is slow.
    """
    specs = [importlib.util.find_spec(package) for package in ("skimage", "_skimage2")]
    places = [place for spec in specs if spec for place in spec.submodule_search_locations or ()]
    return [folder for place in places if (folder := Path(place) / "data").is_dir()]


def is_plain_name(name: str) -> bool:
    """Return whether the name of a file has neither control characters nor bytes that are no UTF-8."""
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)


def read_bytes(path: Path, origin: str) -> bytes:
    """Return the bytes of a file of at most `MAX_BYTES`; `origin` is its name in messages."""
    try:
        data = read_file(path, MAX_BYTES)
    except FileNotFoundError:
        raise ImageError(f"There is no file {origin}.", "Correct the path, or put the file there.") from None
    except OSError as error:
        raise ImageError(
            f"{origin} cannot be read: {error.strerror or error}.",
            f"Name an image file ({READ}) that your account can read and nothing else writes to.",
        ) from error
    if not data:
        raise ImageError(f"{origin} is empty (0 bytes).", "Copy the file again.")
    return data


def decode(data: bytes, origin: str) -> tuple[Samples, str]:
    """Return the samples of the image file `data`, and its format, one of `SIGNATURES`."""
    from stimgen.images.netpbm import decode_netpbm
    from stimgen.images.raster import decode_raster
    from stimgen.images.tiff import decode_tiff

    file_format = format_of(data, origin)
    try:
        if file_format == "TIFF":
            return decode_tiff(data, origin), file_format
        if file_format == "PNM":
            return decode_netpbm(data, origin), file_format
        return decode_raster(data, file_format, origin), file_format
    except InputError:
        raise
    except MemoryError as error:
        raise ImageError(
            f"{origin} is too large for the memory of this machine.", "Crop or shrink the image."
        ) from error
    except Exception as error:  # decoders raise errors of almost any class on damaged files
        raise ImageError(
            f"{origin} is a damaged or cut-off {file_format} file: {error}.",
            "Copy the file again, or open it in an image editor and save it as PNG.",
        ) from error


def _kind(data: bytes, signatures: dict[bytes, str]) -> str | None:
    return next((name for start, name in signatures.items() if re.match(start, data[:200], re.S)), None)


def format_of(data: bytes, origin: str) -> str:
    """Return the format of an image file, one of `SIGNATURES`, from how it begins."""
    file_format = _kind(data, SIGNATURES)
    if file_format is None:
        kind = _kind(data, OTHERS)
        if origin.lower().endswith(".iml"):
            kind = "a raw image of van Hateren's database, which states neither its size nor its white"
        what = "not an image file of a format that stimgen reads" if kind is None else kind
        raise ImageError(f"{origin} is {what}.", f"Save the image as {READ}; PNG and TIFF keep 16 bits.")
    return file_format
