from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from png_bytes import GREY, RGB, chunks, png_bytes

from stimgen.errors import StimgenError
from stimgen.images.pixels import ImageError
from stimgen.images.png import decode_own_png, decode_png, encode_png, quantise

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)),
)
SAMPLES = st.tuples(st.sampled_from([np.uint8, np.uint16]), SHAPES).flatmap(lambda both: hnp.arrays(*both))


@given(SAMPLES)
def test_round_trip_is_exact(pixels):
    """Also of 16-bit images that are nearly black, which no other image file may be without its white."""
    file, white = encode_png(pixels), np.iinfo(pixels.dtype).max
    np.testing.assert_array_equal(imagecodecs.png_decode(file), pixels)
    for back in (decode_png(file), decode_own_png(file, pixels)):
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, (pixels / white).astype(np.float32))
        again = quantise(back, 8 * pixels.itemsize)
        assert again.dtype == pixels.dtype
        np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_own_png_with_other_pixels_is_an_error(shape, kind):
    pixels = np.zeros(shape, kind)
    file = encode_png(pixels)
    pixels.flat[0] = 1
    for written in (pixels, np.zeros((5, 5), kind)):
        with pytest.raises(StimgenError, match="does not hold the pixels that were written"):
            decode_own_png(file, written)


@pytest.mark.parametrize("bits", [8, 16])
@given(image=SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))))
def test_quantising_moves_no_value_by_more_than_half_a_level(image, bits):
    quantised, white = quantise(image, bits), 2**bits - 1
    assert quantised.dtype == np.dtype(f"uint{bits}")
    assert np.abs(quantised / white - image.astype(np.float64)).max() <= 0.5 / white + 1e-12


def test_halves_go_to_the_even_level():
    halves = (np.arange(255) + 0.5) / 255
    exact = halves[halves * 255 == np.arange(255) + 0.5]
    assert len(exact) > 100
    levels = quantise(exact[np.newaxis])[0]
    assert (levels % 2 == 0).all()


def test_rounding_of_float32_is_allowed():
    np.testing.assert_array_equal(quantise(np.array([[-1e-7, 1 + 1e-7, 0.2]])), [[0, 255, 51]])


@pytest.mark.parametrize("value", [-1e-5, 1.00001])
def test_values_out_of_range_or_not_finite_are_errors(value):
    image = np.full((4, 4), 0.5)
    image[1, 2] = value
    with pytest.raises(StimgenError, match="cannot be written") as caught:
        quantise(image)
    assert "clip_to_display" in caught.value.cure
    assert f"{value:.6g}" in caught.value.problem
    image[1, 2] = np.nan
    with pytest.raises(StimgenError, match="1 values that are not finite"):
        quantise(image)


@pytest.mark.parametrize(("shape", "mode"), [((5, 7), "L"), ((5, 7, 3), "RGB")])
def test_file_is_8_bit_and_plain(shape, mode):
    file = encode_png(np.zeros(shape, np.uint8))
    with Pillow.open(io.BytesIO(file)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", mode, (7, 5))
        assert picture.info == {}


def test_bytes_depend_on_pixels_and_text_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    text = {"stimulus_id": "brick-pool4-s1", "stimgen": "0.1"}
    backwards = dict(reversed(text.items()))
    strided = np.ascontiguousarray(pixels.transpose(1, 0, 2)).transpose(1, 0, 2)
    assert encode_png(pixels, text=text) == encode_png(strided, text=backwards)
    assert encode_png(pixels, text=text) != encode_png(pixels)


def test_decoding_a_path(tmp_path):
    path = tmp_path / "stimulus.png"
    path.write_bytes(encode_png(np.full((3, 3), 51, np.uint8)))
    np.testing.assert_array_equal(decode_png(path), np.float32(0.2))
    with pytest.raises(ImageError, match="There is no file"):
        decode_png(tmp_path / "missing.png")


@pytest.mark.parametrize(("channels", "colour_type"), [((), GREY), ((3,), RGB)])
def test_16_bit_file_is_plain_and_the_same_bytes_each_time(channels, colour_type):
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 7, *channels), dtype=np.uint16)
    file = encode_png(pixels)
    assert (file[24], file[25], chunks(file)) == (16, colour_type, [b"IHDR", b"IDAT", b"IEND"])
    strided = np.ascontiguousarray(pixels.swapaxes(0, 1)).swapaxes(0, 1)
    assert encode_png(strided) == file
    by_hand = png_bytes(pixels, colour_type, 16, paeth=True)
    np.testing.assert_array_equal(decode_png(by_hand), decode_png(file))


def test_stimuli_have_8_or_16_bits():
    with pytest.raises(ImageError, match="not a PNG file of 8 or 16 bits"):
        decode_png(png_bytes(np.zeros((3, 3), np.uint8), GREY, 1))


def test_damaged_stimulus():
    file = encode_png(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))
    with pytest.raises(ImageError, match="damaged"):
        decode_png(file[:-200])


def test_text_can_be_read_from_the_file():
    text = {"stimulus_id": "brick-pool4-s1", "note": "Ä → ü"}
    with Pillow.open(io.BytesIO(encode_png(np.zeros((2, 2), np.uint8), text=text))) as picture:
        picture.load()
        assert {key: str(value) for key, value in picture.text.items()} == text
