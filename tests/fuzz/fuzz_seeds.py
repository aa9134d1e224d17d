"""What fuzzing starts from: real manifests, and small files of every kind that the image reader meets."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pillow

from stimgen.controls import CONTROLS
from stimgen.manifest import schema
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.trials import DESIGNS

REPOSITORY = Path(__file__).parents[2]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def manifests() -> list[bytes]:
    """Return the manifests of this repository, with the broken ones of the tests."""
    folders = (REPOSITORY / "manifests", REPOSITORY / "tests" / "manifest" / "broken")
    return [path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.yaml"))]


def manifest_words() -> list[str]:
    """Return keys, names and syntax of manifests."""
    sections = [model for model in vars(schema).values() if isinstance(model, type)]
    keys = {
        key
        for model in (*sections, Multiscale, Gatys2015)
        if issubclass(model, schema.BaseModel)
        for key in model.model_fields
    }
    keys |= {key for control in CONTROLS.values() for key in control.options.model_fields}
    keys |= {key for design in DESIGNS.values() for key in design.options.model_fields}
    names = {"vgg16", "conv1_1", "pool1..pool4", "skimage:brick", "random:1", "&a", "*a", "<<"}
    syntax = {"!!python/object:", "!!binary", ".inf", ".nan", "1e400", "0x1F", "---", "%YAML"}
    return sorted({*keys, *CONTROLS, *DESIGNS, *names, *syntax})


def images() -> list[bytes]:
    """Return small images of every format and colour model."""
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (9, 11)).astype(np.uint8)
    colour = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    return [*_of_pillow(grey, colour), *_of_tifffile(grey, colour), *_pngs_of_16_bits(grey)]


def with_right_checksums(data: bytes) -> bytes:
    """Return a PNG file with the right checksum in every chunk, so that its content is read."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    fixed, place = data[:8], 8
    while place + 12 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        body = data[place + 4 : end]
        fixed += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place = end + 4
    return fixed + data[place:]


def _of_pillow(grey: np.ndarray, colour: np.ndarray) -> Iterator[bytes]:
    one, three = Pillow.fromarray(grey), Pillow.fromarray(colour)
    exif = Pillow.Exif()
    exif[274] = 6
    palette = three.convert("P", palette=Pillow.Palette.ADAPTIVE)
    for image in (three.convert("1"), one, three.convert("LA"), palette, three, three.convert("RGBA")):
        yield _saved(image, "PNG", exif=exif)
    yield _saved(palette, "PNG", transparency=0)
    for image in (one, three, three.convert("CMYK")):
        yield _saved(image, "JPEG", progressive=image is three, exif=exif, icc_profile=b"profile")
    for compression in ("raw", "tiff_lzw", "packbits", "jpeg"):
        yield _saved(three, "TIFF", compression=compression)
    yield _saved(one.convert("1"), "TIFF", compression="group4")
    for several in ("PNG", "MPO", "GIF"):
        yield _saved(three, several, save_all=True, append_images=[three.rotate(90)])
    for foreign in ("BMP", "WEBP"):
        yield _saved(three, foreign)


def _of_tifffile(grey: np.ndarray, colour: np.ndarray) -> Iterator[bytes]:
    wide = colour.astype(np.uint16) * 257
    for array, options in (
        (grey, {"photometric": "miniswhite"}),
        (grey, {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
        (wide, {"photometric": "rgb", "compression": "zlib", "predictor": True}),
        (wide, {"photometric": "rgb", "tile": (16, 16), "byteorder": ">"}),
        (np.moveaxis(wide, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        ((grey / 255).astype(np.float32), {"photometric": "minisblack", "bigtiff": True}),
        (np.stack([grey] * 3), {"photometric": "minisblack", "ome": True}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        yield file.getvalue()


def _pngs_of_16_bits(grey: np.ndarray) -> Iterator[bytes]:
    for colour_type, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        rows = b"".join(b"\0" + bytes(2 * channels * grey.shape[1]) for _ in grey)
        header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 16, colour_type, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"gAMA", bytes(4)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        data = b"".join(struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in chunks)
        yield with_right_checksums(PNG_SIGNATURE + data)


def _saved(image: Pillow.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
