from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from measured_images import power_law
from skimage.feature import match_template

from stimgen.controls import CONTROLS
from stimgen.images.png import decode_png, encode_png, quantise
from stimgen.images.read import read_image
from stimgen.measure.copying import CROPS_PX, SourceWindows, copied, copying

SIDES = (2, 3, 5, 8)


def tiles(image, side):
    """Yield (top, left, tile) of the grid in the middle."""
    height, width = image.shape
    for row in range(height // side):
        for column in range(width // side):
            top, left = height % side // 2 + row * side, width % side // 2 + column * side
            yield top, left, image[top : top + side, left : left + side]


def by_brute_force(image, source, side, *, disjoint=False, inside=None):
    """Return the highest of NumPy's absolute correlation coefficients, one after the other.

    With a mask of the source, only windows inside it count; and tiles, where the image is the source.
    """

    def counts(y, x):
        return inside is None or inside[y : y + side, x : x + side].all()

    highest = []
    for top, left, tile in tiles(image, side):
        for y in range(source.shape[0] - side + 1):
            for x in range(source.shape[1] - side + 1):
                window = source[y : y + side, x : x + side]
                overlap = abs(y - top) < side and abs(x - left) < side
                contrast = np.ptp(tile) and np.ptp(window)
                if disjoint and (overlap or not counts(top, left)):
                    continue
                if contrast and counts(y, x):
                    highest.append(abs(np.corrcoef(tile.ravel(), window.ravel())[0, 1]))
    return max(highest, default=None)


def verdict(image, source):
    windows = SourceWindows(source)
    file = decode_png(encode_png(quantise(np.clip(image, 0, 1))))
    return copied((r, windows.baseline[side]) for side, r in copying(file, windows).items())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from(SIDES), st.integers(0, 999))
@example(4, 4, 2, 0)  # two values: windows without contrast
@example(16, 4, 8, 0)
def test_similarity_and_baseline_by_brute_force(height, width, side, seed):
    rng = np.random.default_rng(seed)
    image, source = (
        rng.integers(0, 3, (2, height, width)) if seed % 2 else rng.random((2, height, width))
    ) / 2
    windows = SourceWindows(source, (side,))
    assert copying(image, windows)[side] == pytest.approx(by_brute_force(image, source, side), abs=1e-9)
    expected = by_brute_force(source, source, side, disjoint=True)
    assert windows.baseline[side] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_windows_of_a_source_with_a_mask_are_inside_it(seed):
    rng = np.random.default_rng(seed)
    image, source, inside = rng.random((9, 11)), rng.random((12, 10)), rng.random((12, 10)) < 0.9
    source[~inside] = source[inside].mean()
    windows = SourceWindows(source, (3,), inside)
    assert copying(image, windows)[3] == pytest.approx(by_brute_force(image, source, 3, inside=inside))
    expected = by_brute_force(source, source, 3, disjoint=True, inside=inside)
    assert windows.baseline[3] == pytest.approx(expected)


@pytest.mark.parametrize("side", CROPS_PX)
def test_similarity_in_a_photograph_is_scikit_images(side):
    gravel = read_image("skimage:gravel").pixels.astype(float)
    image, source = gravel[:150, :140], gravel[200:370, 200:401]  # neither square nor of one shape
    expected = max(np.abs(match_template(source, tile)).max() for _, _, tile in tiles(image, side))
    assert copying(image, SourceWindows(source))[side] == pytest.approx(expected, rel=1e-9)


def test_rounding_noise_is_no_contrast():
    rng = np.random.default_rng(0)
    nearly_constant = 0.5 + 1e-8 * rng.random((64, 64))
    windows = SourceWindows(nearly_constant, (8,))
    assert copying(rng.random((64, 64)), windows) == {8: None}
    assert windows.baseline == {8: None}
    assert copying(nearly_constant, SourceWindows(rng.random((64, 64)), (8,))) == {8: None}


def test_one_level_of_one_pixel_is_contrast():
    source = np.full((256, 256), 0.5)
    source[70, 90] += 1 / 255
    assert copying(source, SourceWindows(source))[32] == pytest.approx(1, abs=1e-6)


def test_without_disjoint_windows_there_is_no_baseline():
    source = np.random.default_rng(0).random((63, 80))
    windows = SourceWindows(source, (32, 64))
    assert windows.baseline[32] is not None  # beside each other
    assert windows.baseline[64] is None
    square = SourceWindows(source[:, :63], (32,))
    assert square.baseline == {32: None}
    assert copying(source[:, :63], square)[32] == pytest.approx(1)


@pytest.fixture(params=["brick", "gravel"])
def source(request):
    return read_image(f"skimage:{request.param}").pixels[:256, :256]


@pytest.mark.parametrize(("contrast", "deviation"), [(1.0, 0.0), (0.6, 0.02)])
def test_a_shifted_copy_is_found(source, contrast, deviation):
    noise = np.random.default_rng(0).standard_normal(source.shape)
    assert verdict(0.3 + contrast * (np.roll(source, (91, 37), (0, 1)) - 0.3) + deviation * noise, source)


def test_a_copy_with_black_and_white_exchanged_is_found(source):
    assert verdict(1 - np.roll(source, (91, 37), (0, 1)), source)


def test_a_copied_block_is_found_and_a_phase_scramble_or_a_rotation_is_no_copy(source):
    scramble = CONTROLS["phase_scrambled"].make(source, np.random.default_rng(1), None, {}).image
    assert verdict(scramble, source) is False
    assert verdict(source[::-1, ::-1], source) is False
    scramble[100:164, 50:114] = source[30:94, 120:184]
    assert verdict(scramble, source) is True


def test_a_regular_texture_has_no_verdict():
    grating = np.tile(0.5 + 0.4 * np.sin(2 * np.pi * np.arange(256) / 16), (256, 1))
    assert verdict(np.roll(grating, 5, 1), grating) is None
    smooth = power_law(4, 256)
    assert SourceWindows(smooth).baseline[32] > 0.99


def test_verdict_follows_its_formula():
    assert copied([(0.91, 0.0)]) is True
    assert copied([(0.89, 0.0), (0.99, None), (None, 0.5)]) is False
    assert copied([(0.995, 0.94), (0.9, 0.0)]) is True
    assert copied([(1.0, 0.9901)]) is None
    assert copied([(1.0, None), (None, 0.0)]) is None
    assert copied([]) is None
