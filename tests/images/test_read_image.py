from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps
from png_bytes import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, png_bytes

from stimgen.errors import InputError
from stimgen.images import read as read_module
from stimgen.images.pixels import ImageError
from stimgen.images.read import PHOTOGRAPHS, RawImage, read_image, skimage_file, skimage_path
from stimgen.images.samples import MAX_PIXELS

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


# --- integers, bit by bit -----------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("paeth", [False, True])
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
    refused(png_bytes(values, colour_type, bits), "transparent pixels (1 of 221)", "Flatten")


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


def test_tiff_with_separate_planes(read):
    values = noise(16, 3)
    data = tiff_bytes(np.moveaxis(values, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read(data).pixels, unit(values, 16))


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_with_white_at_zero(read, bits):
    values = noise(bits)
    np.testing.assert_array_equal(
        read(tiff_bytes(values, photometric="miniswhite")).pixels, unit(2**bits - 1 - values, bits)
    )


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff_is_taken_as_it_is(read, dtype):
    values = np.random.default_rng(3).random((*SHAPE, 3)).astype(dtype)
    values[0, 0] = 0, 1, 0.5
    raw = read(tiff_bytes(values, photometric="rgb"))
    assert raw.bits is None
    np.testing.assert_array_equal(raw.pixels, values.astype(np.float32))


# --- orientation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
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


# --- identity and names --------------------------------------------------------------------------------


def test_content_decides_about_the_format(read):
    values = noise(8)
    raw = read(pillow_bytes(values, "TIFF"), "picture.jpg")
    assert raw.file_format == "TIFF"
    np.testing.assert_array_equal(raw.pixels, unit(values, 8))


def test_identity_is_that_of_the_bytes(tmp_path):
    data = pillow_bytes(noise(8), "PNG")
    path = tmp_path / "image.png"
    path.write_bytes(data)
    raw = read_image(str(path))
    assert raw.sha256 == hashlib.sha256(data).hexdigest()
    assert raw.origin == str(path)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_of_scikit_image(name):
    raw = read_image(f"skimage:{name}")
    assert isinstance(raw, RawImage)
    assert raw.sha256 == hashlib.sha256(skimage_path(name).read_bytes()).hexdigest()
    assert raw.origin.startswith(f"skimage:{name} (scikit-image ")
    assert 0 <= raw.pixels.min() < raw.pixels.max() <= 1


def test_brick_equals_what_scikit_image_loads():
    from skimage import data

    np.testing.assert_array_equal(read_image("skimage:brick").pixels, unit(data.brick(), 8))


@pytest.mark.parametrize(
    "name", ["bricks", "no_time_for_that_tiny", "multipage", "../data/brick", "lfw_subset", ""]
)
def test_unknown_photograph_lists_the_known(name):
    with pytest.raises(ImageError, match="astronaut, brick, camera") as caught:
        read_image(f"skimage:{name}")
    if name == "bricks":
        assert 'Did you mean "brick"?' in caught.value.cure


@pytest.mark.parametrize("package", ["skimage", "_skimage2"])
def test_photographs_are_found_in_the_package_folders_of_scikit_image(tmp_path, monkeypatch, package):
    """Version 0.26 has its images in skimage/data, the main branch in _skimage2/data."""
    content = skimage_path("brick").read_bytes()
    for name in ("skimage", "_skimage2"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    path = tmp_path / package / "data" / "brick.png"
    path.write_bytes(content)
    (tmp_path / package / "data" / "README.txt").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    assert skimage_path("brick") == skimage_file("brick.png") == path
    assert skimage_file("camera.png") is None
    with pytest.raises(ImageError, match="ships no image"):
        skimage_path("camera")
    assert read_image("skimage:brick").sha256 == hashlib.sha256(content).hexdigest()


def test_finding_a_photograph_imports_no_scikit_image():
    code = (
        "import sys; from stimgen.images.read import skimage_path; import stimgen.images.sources;"
        "slow = {'skimage', 'scipy', 'torch', 'PIL', 'tifffile'};"
        "print(skimage_path('brick').is_file(), slow & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split(maxsplit=1) == ["True", "set()\n"]


# --- faults --------------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r"There is no file .*missing\.png"):
        read_image(tmp_path / "missing.png")


def test_pipe_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(pillow_bytes(noise(8), "PNG"))

    def denied(path, most_bytes):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(read_module, "read_file", denied)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(path)


def test_name_with_a_null_byte():
    with pytest.raises(InputError):
        read_image("bad\0name.png")


def test_empty_file(refused):
    refused(b"", "is empty (0 bytes)")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kept", [10, 30, 60, 0.5, 0.9, -10, -20])
def test_cut_off_png(refused, bits, kept):
    data = png_bytes(noise(bits, 3, (64, 64)), RGB, bits)
    refused(data[: int(kept * len(data)) if 0 < kept < 1 else kept], "damaged or cut-off PNG")


@pytest.mark.parametrize("kept", [4, 30, 0.5, 0.9])
def test_cut_off_jpeg(refused, kept):
    data = pillow_bytes(noise(8, 3, (64, 64)), "JPEG")
    refused(data[: kept if kept > 1 else int(kept * len(data))], "damaged or cut-off JPEG")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("kept", [6, 12, 0.3, 0.5, 0.9, 0.99])
def test_cut_off_tiff(refused, compression, kept):
    data = pillow_bytes(
        noise(8, 3, (64, 64)), "TIFF", **({"compression": compression} if compression else {})
    )
    refused(data[: kept if kept > 1 else int(kept * len(data))])


@pytest.mark.parametrize("level", [0, 6])
def test_flipped_bit_in_png(refused, level):
    data = bytearray(png_bytes(noise(8, 3, (64, 64)), RGB, 8, level=level))
    data[len(data) // 2] ^= 4
    refused(bytes(data), "damaged or cut-off PNG")


def test_animated_png(refused):
    frames = [Pillow.fromarray(noise(8)), Pillow.fromarray(255 - noise(8)), Pillow.fromarray(noise(8) // 2)]
    refused(pillow_bytes(frames[0], "PNG", save_all=True, append_images=frames[1:]), "holds 3 pictures")


def test_jpeg_with_a_second_picture(refused):
    frames = [Pillow.fromarray(noise(8, 3)), Pillow.fromarray(255 - noise(8, 3))]
    refused(pillow_bytes(frames[0], "MPO", save_all=True, append_images=frames[1:]), "holds 2 pictures")


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"metadata": None}, {"compression": "zlib"}])
def test_multi_page_tiff(refused, options):
    refused(tiff_bytes(noise(8, shape=(4, 13, 17)), photometric="minisblack", **options), "holds 4 pictures")


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(refused, file_format):
    refused(pillow_bytes(Pillow.fromarray(noise(8, 3)).convert("CMYK"), file_format), "colour model")


def test_lab_tiff(refused):
    refused(pillow_bytes(Pillow.new("LAB", (8, 8)), "TIFF"), "colour model", "LAB")


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int8, np.complex64])
def test_tiff_of_other_samples(refused, dtype):
    refused(tiff_bytes(noise(8).astype(dtype), photometric="minisblack"), "does not read", "-bit")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "1 samples that are not finite"),
        (np.inf, "not finite"),
        (1.001, "0 to 1.001"),
        (-0.1, "from -0.1"),
    ],
)
def test_bad_floats(refused, value, words):
    values = np.zeros(SHAPE, dtype=np.float32)
    values[3, 3] = value
    refused(tiff_bytes(values), words)


def test_pixel_limit_is_stated(refused):
    data = png_bytes(np.zeros((1, 2), dtype=np.uint8), GREY, 8)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8192, 8193, 8, GREY, 0, 0, 0))
    refused(data[:8] + header + data[33:], str(MAX_PIXELS), "8192 × 8193")


def test_rgb_tiff_with_one_sample(refused):
    data = bytearray(tiff_bytes(noise(8), photometric="minisblack", metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        place = file.pages[0].tags[262].offset + 8
    data[place] = 2
    refused(bytes(data), "1 × 8-bit", "colour model RGB")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_gives_pixels_or_an_image_error(tmp_path_factory, data):
    kinds = {
        "png8": lambda: png_bytes(noise(8, 3), RGB, 8),
        "png16": lambda: png_bytes(noise(16, 4), RGBA, 16),
        "jpeg": lambda: pillow_bytes(noise(8, 3), "JPEG"),
        "tiff": lambda: tiff_bytes(noise(16, 3), photometric="rgb"),
        "lzw": lambda: pillow_bytes(noise(8, 3), "TIFF", compression="tiff_lzw"),
    }
    file = bytearray(kinds[data.draw(st.sampled_from(sorted(kinds)))]())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(file) - 1, 400)))
        file[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(file))
    try:
        pixels = read_image(path).pixels
    except ImageError:
        return
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2 or pixels.shape[2] == 3
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_samples_of_32_bits_are_refused_in_compressed_tiffs_too(tmp_path: Path) -> None:
    """Pillow decodes them, and 16 bits would hold only a part of each."""
    path = tmp_path / "ramp.tif"
    ramp = (np.arange(4096, dtype=np.int32) * 100).reshape(64, 64)
    Pillow.fromarray(ramp).save(path, compression="tiff_lzw")
    with pytest.raises(ImageError):
        read_image(path)
