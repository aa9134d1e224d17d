"""Image files that are made to exhaust time or memory, and what must never be dropped in silence."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bounded_process import SECONDS, Refusal, refusals
from PIL import Image as Pillow

from stimgen.images.pixels import ImageError
from stimgen.images.read import read_image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY = np.arange(16, dtype=np.uint8).reshape(4, 4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, data: bytes = b"\0\1\2\3\4" * 4) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return SIGNATURE + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(2**20)) for _ in range(count // 2**20)]
    return b"".join(parts) + packer.flush()


def saved(image: Pillow.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def with_tags(data: bytes, **values: int) -> bytes:
    """Return a little-endian TIFF file with the first values of tags changed."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name, value in values.items():
            tag = file.pages.first.tags[name]
            size = {3: 2, 4: 4}[tag.dtype]
            changed[tag.valueoffset : tag.valueoffset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def with_strip(data: bytes, strip: bytes) -> bytes:
    return with_tags(data, StripOffsets=len(data), StripByteCounts=min(len(strip), 2**16 - 1)) + strip


def pages(count: int, *, then: int) -> bytes:
    """A chain of pages of one tag each; the last is followed by page `then`."""
    head, size = 8, 18
    offsets = [head + size * ((n + 1) if n < count - 1 else then) for n in range(count)]
    tag = struct.pack("<HHII", 256, 4, 1, 16)
    return (
        b"II*\0"
        + struct.pack("<I", head)
        + b"".join(struct.pack("<H", 1) + tag + struct.pack("<I", offset) for offset in offsets)
    )


def with_scans(count: int) -> bytes:
    data = saved(Pillow.new("L", (1024, 1024)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def jpeg_of(width: int, height: int) -> bytes:
    data = saved(Pillow.fromarray(np.zeros((16, 16, 3), np.uint8)), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "huge.png": (lambda: png(60_000, 60_000), "more pixels than stimgen reads"),
    "no_width.png": (lambda: png(0, 4), "its header makes no sense"),
    "profile.png": (lambda: png(4, 4, chunk(b"iCCP", b"p\0\0" + zeros(2**26))), "damaged"),
    "text.png": (lambda: png(4, 4, chunk(b"zTXt", b"p\0\0" + zeros(2**26))), "damaged"),
    "texts.png": (lambda: png(4, 4, chunk(b"tEXt", b"p\0" + b"x" * 60_000) * 1500), "damaged"),
    "exif.png": (lambda: png(4, 4, chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")), "damaged"),
    "chunk.png": (lambda: SIGNATURE + b"\xff\xff\xff\xf0IHDR", "damaged"),
    "huge.jpg": (lambda: jpeg_of(65_535, 65_535), "more pixels than stimgen reads"),
    "padded.jpg": (lambda: jpeg_of(8000, 8000), "bytes cannot hold 8000 × 8000 pixels"),
    "no_height.jpg": (lambda: jpeg_of(16, 0), "damaged"),
    "scans.jpg": (lambda: with_scans(2000), "more than 100 scans"),
    "pages.tif": (lambda: pages(20_000, then=0), "holds 100 pictures"),
    "self.tif": (lambda: pages(1, then=0), "holds 100 pictures"),
    "deflate.tif": (
        lambda: with_strip(tiff(GREY.repeat(64, 0).repeat(64, 1), compression="zlib"), zeros(2**26)),
        "holds more than its pixels",
    ),
    "few.tif": (
        lambda: with_strip(tiff(GREY.repeat(64, 0).repeat(64, 1), compression="zlib"), zlib.compress(b"few")),
        "holds fewer than its pixels",
    ),
    "packbits.tif": (
        lambda: with_strip(with_tags(tiff(GREY), Compression=32773), b"\x81\0" * 32_000),
        "holds more than its pixels",
    ),
    "channels.tif": (
        lambda: with_tags(tiff(np.zeros((8, 8, 4), np.uint8), photometric="rgb"), SamplesPerPixel=60_000),
        "",
    ),
    "wide.tif": (lambda: with_tags(tiff(GREY), ImageWidth=60_000, ImageLength=60_000), "60000 × 60000"),
    "tile.tif": (
        lambda: with_tags(tiff(np.zeros((16, 16), np.uint8), tile=(16, 16)), TileWidth=2**16 - 16),
        "holds fewer than its pixels",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    folder = tmp_path_factory.mktemp("images")
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content())
    with (folder / "sparse.png").open("wb") as file:
        file.write(png(4, 4))
        file.truncate(10**11)
    imports = "import PIL.Image, tifffile; from stimgen.images.read import read_image"
    return refusals("read_image(path)", imports, sorted(folder.iterdir()))


@pytest.mark.parametrize("name", [*FILES, "sparse.png"])
def test_refused_in_bounded_time_and_memory(name: str, outcomes: dict[str, Refusal]) -> None:
    outcome = outcomes[name]
    assert (outcome.kind, outcome.code) == ("ImageError", 2)
    assert name in outcome.message
    assert "0x" not in outcome.message
    assert (FILES[name][1] if name in FILES else "Larger than 1073741824 bytes") in outcome.message
    assert outcome.seconds < SECONDS


@pytest.mark.parametrize("file_format", ["GIF", "BMP"])
def test_other_formats_are_refused_whatever_their_name(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(saved(Pillow.fromarray(GREY.repeat(4, 0).repeat(4, 1)), file_format))
    with pytest.raises(ImageError, match="is not an image file of a format that stimgen reads"):
        read_image(path)


def test_profiles_and_gamma_change_no_pixel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for extra in (
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"sRGB", b"\0"),
        chunk(b"sBIT", b"\4"),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(b"profile")),
    ):
        path.write_bytes(png(4, 4, extra))
        expected = np.tile(np.arange(1, 5, dtype=np.float32) / np.float32(255), (4, 1))
        np.testing.assert_allclose(read_image(path).pixels, expected, rtol=1e-6)


def test_a_tiff_that_names_other_files_opens_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OME-TIFF may say that its planes are in other files, here in a pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.ome.tif")
    ome = (
        '<?xml version="1.0"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" '
        'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:a</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1">'
        '<UUID FileName="pipe.ome.tif">urn:uuid:b</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.full((8, 8), 51, np.uint8), description=ome, photometric="minisblack"))
    assert read_image(path).pixels.max() == np.float32(0.2)


@pytest.mark.filterwarnings("default")
def test_an_orientation_that_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    """Outside of tests, Pillow only warns that it skips the tag."""
    path = tmp_path / "image.jpg"
    tag = struct.pack("<HHII", 274, 3, 40, 1000)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    path.write_bytes(saved(Pillow.fromarray(GREY.repeat(4, 0)), "JPEG", exif=exif))
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)
