from __future__ import annotations

import hashlib
import io
import os
import struct
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps
from png_bytes import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, png_bytes

from stimgen.images import read as read_module
from stimgen.images.pixels import MAX_PIXELS, ImageError
from stimgen.images.read import read_image

SHAPE = (13, 17)


def noise(bits, channels=None, shape=SHAPE):
    size = shape if channels is None else (*shape, channels)
    return np.random.default_rng(1).integers(0, 2**bits, size).astype(np.uint16 if bits > 8 else np.uint8)


def unit(values, bits):
    return (values.astype(np.float64) / (2**bits - 1)).astype(np.float32)


def pillow_bytes(image, file_format, **options):
    file = io.BytesIO()
    (image if isinstance(image, Pillow.Image) else Pillow.fromarray(image)).save(file, file_format, **options)
    return file.getvalue()


def tiff_bytes(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    def write_and_read(data, name="image.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return read_image(path)

    return write_and_read


@pytest.fixture
def refused(read):
    def message(data, *words, name="image.png"):
        with pytest.raises(ImageError) as caught:
            read(data, name)
        assert name in caught.value.problem
        assert caught.value.cure
        assert caught.value.exit_code == 2
        for word in words:
            assert word in str(caught.value)

    return message


@pytest.mark.parametrize(("paeth", "interlaced"), [(False, False), (True, True)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("colour_type", "channels"), [(GREY, None), (RGB, 3)])
def test_png_is_bit_exact(read, colour_type, channels, bits, paeth, interlaced):
    values = noise(bits, channels)
    raw = read(png_bytes(values, colour_type, bits, paeth=paeth, interlaced=interlaced))
    assert raw.bits == bits
    assert raw.file_format == "PNG"
    assert raw.pixels.dtype == np.float32
    np.testing.assert_array_equal(raw.pixels, unit(values, bits))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits(read, bits):
    values = noise(bits)
    np.testing.assert_array_equal(read(png_bytes(values, GREY, bits)).pixels, unit(values, bits))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("colour_type", "channels"), [(GREY_ALPHA, 2), (RGBA, 4)])
def test_opaque_alpha_is_dropped_and_other_alpha_refused(read, refused, colour_type, channels, bits):
    values = noise(bits, channels)
    values[..., -1] = 2**bits - 1
    colours = values[..., 0] if channels == 2 else values[..., :3]
    np.testing.assert_array_equal(read(png_bytes(values, colour_type, bits)).pixels, unit(colours, bits))
    values[3, 4, -1] -= 1
    refused(png_bytes(values, colour_type, bits), "transparent pixels (1 of 221)", "mask: alpha")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_value_counts_where_it_occurs(read, refused, bits):
    values = np.zeros(SHAPE, dtype=np.uint16)
    key = chunk(b"tRNS", struct.pack(">H", 2**bits - 1))
    assert read(png_bytes(values, GREY, bits, extra=key)).pixels.max() == 0
    values[2, 3] = 2**bits - 1
    refused(png_bytes(values, GREY, bits, extra=key), "(1 of 221)")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_counts_where_it_occurs(read, refused, bits):
    values = noise(bits, 3)
    key = values[5, 6].copy()
    key_chunk = chunk(b"tRNS", struct.pack(">HHH", *(int(value) for value in key)))
    refused(png_bytes(values, RGB, bits, extra=key_chunk), "transparent pixels")
    values[(values == key).all(axis=2)] = 0
    np.testing.assert_array_equal(
        read(png_bytes(values, RGB, bits, extra=key_chunk)).pixels, unit(values, bits)
    )


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palette_becomes_rgb(read, refused, bits):
    colours = np.random.default_rng(2).integers(0, 256, (2**bits, 3)).astype(np.uint8)
    values = noise(bits)
    values[0, 0] = 0
    palette = chunk(b"PLTE", colours.tobytes())
    raw = read(png_bytes(values, PALETTE, bits, extra=palette))
    np.testing.assert_array_equal(raw.pixels, unit(colours[values], 8))
    transparent = chunk(b"tRNS", bytes([0]))
    count = int((values == 0).sum())
    refused(png_bytes(values, PALETTE, bits, extra=palette + transparent), f"({count} of 221)")


@pytest.mark.parametrize("channels", [None, 3])
def test_jpeg(read, channels):
    values = noise(8, channels)
    data = pillow_bytes(values, "JPEG", quality=100)
    raw = read(data, "image.jpg")
    assert (raw.file_format, raw.bits) == ("JPEG", 8)
    np.testing.assert_array_equal(raw.pixels, unit(np.asarray(Pillow.open(io.BytesIO(data))), 8))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 2}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize(
    ("order", "bits", "channels"), [("<", 8, None), (">", 16, 3), ("<", 16, None), (">", 8, 3)]
)
def test_tiff_is_bit_exact(read, channels, bits, order, options):
    values = noise(bits, channels)
    photometric = "rgb" if channels else "minisblack"
    raw = read(tiff_bytes(values, photometric=photometric, byteorder=order, **options), "image.tif")
    assert (raw.file_format, raw.bits) == ("TIFF", bits)
    np.testing.assert_array_equal(raw.pixels, unit(values, bits))


def test_tiff_of_one_bit(read):
    values = noise(1).astype(bool)
    for photometric, expected in (("minisblack", values), ("miniswhite", ~values)):
        raw = read(tiff_bytes(values, photometric=photometric))
        assert raw.bits == 1
        np.testing.assert_array_equal(raw.pixels, expected.astype(np.float32))


def test_tiff_palette(read):
    colours = np.random.default_rng(2).integers(0, 2**16, (3, 256)).astype(np.uint16)
    values = noise(8)
    raw = read(tiff_bytes(values, photometric="palette", colormap=colours))
    np.testing.assert_array_equal(raw.pixels, unit(np.moveaxis(colours[:, values], 0, -1), 16))


@pytest.mark.parametrize(("channels", "photometric"), [(2, "minisblack"), (4, "rgb")])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_alpha(read, refused, channels, photometric, planar):
    values = noise(16, channels)
    values[..., -1] = 65535

    def data():
        array = np.moveaxis(values, 2, 0) if planar == "separate" else values
        return tiff_bytes(array, photometric=photometric, planarconfig=planar, extrasamples=["unassalpha"])

    colours = values[..., 0] if channels == 2 else values[..., :3]
    np.testing.assert_array_equal(read(data()).pixels, unit(colours, 16))
    values[1, 2, -1] = 0
    refused(data(), "(1 of 221)", "alpha")


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate"])
@pytest.mark.parametrize(("bits", "channels"), [(8, None), (8, 3), (16, None)])
def test_compressed_tiff_of_other_programs(read, compression, bits, channels):
    values = noise(bits, channels)
    raw = read(pillow_bytes(values, "TIFF", compression=compression))
    assert raw.bits == bits
    np.testing.assert_array_equal(raw.pixels, unit(values, bits))


@pytest.mark.parametrize("predictor", [False, True])
def test_lzw_keeps_16_bits_of_colour(read, predictor):
    values = noise(16, 3)
    raw = read(tiff_bytes(values, photometric="rgb", compression="lzw", predictor=predictor))
    assert raw.bits == 16
    np.testing.assert_array_equal(raw.pixels, unit(values, 16))


@pytest.mark.parametrize(
    ("file_format", "name"), [("BMP", "BMP"), ("GIF", "GIF"), ("PPM", "PNM"), ("WEBP", "WEBP")]
)
def test_lossless_formats_of_texture_collections(read, file_format, name):
    values = noise(8)
    options = {"lossless": True} if file_format == "WEBP" else {}
    raw = read(pillow_bytes(values, file_format, **options))
    assert raw.file_format == name
    grey = raw.pixels if raw.pixels.ndim == 2 else raw.pixels[:, :, 0]
    np.testing.assert_array_equal(grey, unit(values, 8))


@pytest.mark.parametrize("white", [15, 255, 1000, 4095, 65535])
@pytest.mark.parametrize("channels", [None, 3])
def test_netpbm_files_state_what_white_is(read, white, channels):
    shape = SHAPE if channels is None else (*SHAPE, channels)
    values = np.random.default_rng(1).integers(0, white + 1, shape)
    kind = "P5" if channels is None else "P6"
    header = f"{kind}\n# a comment\n{SHAPE[1]} {SHAPE[0]}\n{white}\n".encode()
    data = header + values.astype(">u2" if white > 255 else "u1").tobytes()
    np.testing.assert_array_equal(read(data).pixels, (values / white).astype(np.float32))
    text = f"{'P2' if channels is None else 'P3'} {SHAPE[1]} {SHAPE[0]} {white}\n"
    text += " ".join(map(str, values.ravel()))
    np.testing.assert_array_equal(read(text.encode()).pixels, (values / white).astype(np.float32))


def test_one_is_black_in_a_bitmap(read):
    np.testing.assert_array_equal(read(b"P1 2 1\n1 0\n").pixels, [[0, 1]])


def test_first_picture_of_a_phone(read):
    data = frames("MPO", 2, 3)
    with Pillow.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(read(data).pixels, unit(np.asarray(picture), 8))


def test_a_camera_with_12_bits_in_16(read, tmp_path):
    values = noise(12)
    expected = (values / 4095).astype(np.float32)
    stated = {"extratags": [(281, "H", 1, 4095, True)], "metadata": None}
    for data in (tiff_bytes(values, **stated), tiff_bytes(values, imagej=True, metadata={"max": 4095.0})):
        raw = read(data)
        assert raw.bits == 12
        np.testing.assert_array_equal(raw.pixels, expected)
    (tmp_path / "silent.tif").write_bytes(tiff_bytes(values))
    np.testing.assert_array_equal(read_image(tmp_path / "silent.tif", white=4095).pixels, expected)
    with pytest.raises(ImageError, match="above white, 1000"):
        read_image(tmp_path / "silent.tif", white=1000)


def test_a_raw_image_of_van_hateren_is_named(refused):
    refused(bytes(1000), "is a raw image of van Hateren's database", name="imk00001.iml")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff_is_taken_as_it_is(read, dtype):
    values = np.random.default_rng(3).random((*SHAPE, 3)).astype(dtype)
    values[0, 0] = 0, 1, 0.5
    raw = read(tiff_bytes(values, photometric="rgb"))
    assert raw.bits is None
    np.testing.assert_array_equal(raw.pixels, values.astype(np.float32))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(
    ("file_format", "compression"), [("PNG", None), ("JPEG", None), ("TIFF", None), ("TIFF", "tiff_lzw")]
)
def test_orientation_tag_is_applied(read, file_format, compression, orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    options = {"compression": compression} if compression else {}
    data = pillow_bytes(noise(8, 3), file_format, exif=exif, **options)
    picture = Pillow.open(io.BytesIO(data))
    if file_format != "TIFF":
        picture = ImageOps.exif_transpose(picture)
    expected = unit(np.asarray(picture), 8)
    assert expected.shape[:2] == (SHAPE if orientation < 5 else SHAPE[::-1])
    np.testing.assert_array_equal(read(data).pixels, expected)


def test_content_decides_about_format_and_identity(read):
    values = noise(8)
    data = pillow_bytes(values, "TIFF")
    raw = read(data, "picture.jpg")
    assert (raw.file_format, raw.sha256) == ("TIFF", hashlib.sha256(data).hexdigest())
    assert raw.origin.endswith("/picture.jpg")
    np.testing.assert_array_equal(raw.pixels, unit(values, 8))


def test_missing_file_and_pipe_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"There is no file .*missing\.png"):
        read_image(tmp_path / "missing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="cannot be read: Not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(pillow_bytes(noise(8), "PNG"))

    def denied(path, most_bytes):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(read_module, "read_file", denied)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(path)


def frames(file_format, count, channels=None):
    first, *others = [Pillow.fromarray(noise(8, channels) // (n + 1)) for n in range(count)]
    return pillow_bytes(first, file_format, save_all=True, append_images=others)


def with_one_sample_called_rgb():
    data = bytearray(tiff_bytes(noise(8), photometric="minisblack", metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        data[file.pages[0].tags[262].offset + 8] = 2
    return bytes(data)


def with_a_float(value):
    values = np.zeros(SHAPE, dtype=np.float32)
    values[3, 3] = value
    return tiff_bytes(values)


def of_8193_rows():
    data = png_bytes(np.zeros((1, 2), dtype=np.uint8), GREY, 8)
    return data[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 8192, 8193, 8, GREY, 0, 0, 0)) + data[33:]


def with_32_bits():
    """Pillow decodes such a file, and 16 bits would hold only a part of each sample."""
    ramp = (np.arange(4096, dtype=np.int32) * 100).reshape(64, 64)
    return pillow_bytes(ramp, "TIFF", compression="tiff_lzw")


PAGES = noise(8, shape=(4, 13, 17))
FAULTS = {
    "empty": (lambda: b"", "is empty (0 bytes)"),
    "animated PNG": (lambda: frames("PNG", 3), "holds 3 pictures"),
    "animated GIF": (lambda: frames("GIF", 3), "holds 3 pictures"),
    "12 bits in 16": (lambda: tiff_bytes(noise(12)), "either 12 bits or fewer are stored in 16"),
    "PGM above its white": (lambda: b"P5 2 1 100\n\x01\x65", "up to 101, and states that white is 100"),
    "cut-off PGM": (lambda: b"P5 2 2 255\n\x01\x65", "damaged or cut-off PNM file"),
    "OpenEXR": (lambda: b"v/1\x01" + bytes(100), "is an OpenEXR image"),
    "Radiance": (lambda: b"#?RADIANCE\n", "is a Radiance"),
    "JPEG 2000": (lambda: pillow_bytes(noise(8), "JPEG2000"), "is a JPEG 2000 image"),
    "TIFF of 4 pages": (lambda: tiff_bytes(PAGES, photometric="minisblack"), "holds 4 pictures"),
    "CMYK TIFF": (lambda: pillow_bytes(Pillow.new("CMYK", (8, 8)), "TIFF"), "colour model"),
    "32 bits": (lambda: tiff_bytes(noise(8).astype(np.uint32)), "does not read"),
    "32 bits, compressed": (with_32_bits, "does not read"),
    "5, 6 and 5 bits": (
        lambda: tiff_bytes(noise(8, shape=(8, 8, 3))).replace(b"\10\0" * 3, b"\5\0\6\0\5\0", 1),
        "(5, 6, 5)-bit integer",
    ),
    "one sample called RGB": (with_one_sample_called_rgb, "colour model RGB"),
    "NaN": (lambda: with_a_float(np.nan), "1 samples that are not finite"),
    "above 1": (lambda: with_a_float(1.001), "0 to 1.001"),
    "below 0": (lambda: with_a_float(-0.1), "from -0.1"),
    "too many pixels": (of_8193_rows, f"8192 × 8193 pixels; stimgen reads at most {MAX_PIXELS}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_images_are_refused(refused, fault):
    content, words = FAULTS[fault]
    refused(content(), words)


COMPRESSIONS = (None, "tiff_lzw", "tiff_deflate", "packbits")
CUT_OFF = {
    "PNG": lambda: png_bytes(noise(8, 3, (64, 64)), RGB, 8),
    "PNG of 16 bits": lambda: png_bytes(noise(16, 3, (64, 64)), RGB, 16),
    "JPEG": lambda: pillow_bytes(noise(8, 3, (64, 64)), "JPEG"),
    **{
        f"TIFF {compression}": partial(pillow_bytes, noise(8, 3, (64, 64)), "TIFF", compression=compression)
        for compression in COMPRESSIONS
    },
}


@pytest.mark.parametrize("kind", CUT_OFF)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_cut_off_files_are_refused(refused, kind, kept):
    data = CUT_OFF[kind]()
    refused(data[: max(int(kept * len(data)), 30 if kind != "TIFF None" else 12)])


@pytest.mark.parametrize("level", [0, 6])
def test_a_flipped_bit_in_a_png_file_is_detected(refused, level):
    data = bytearray(png_bytes(noise(8, 3, (64, 64)), RGB, 8, level=level))
    data[len(data) // 2] ^= 4
    refused(bytes(data), "damaged or cut-off PNG")
