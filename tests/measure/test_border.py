import numpy as np
import pytest

from stimgen.measure import STATISTICS, DecodedImage


def border_contrast(pixels):
    return STATISTICS["border"].measure(DecodedImage(pixels), None)["border_contrast"]


def test_contrast_of_the_outermost_pixels_is_relative_to_the_middle():
    rng = np.random.default_rng(1)
    pixels = 0.5 + rng.normal(0, 0.1, (60, 60))
    framed = pixels.copy()
    ring = [(row, column) for row in range(60) for column in range(60) if {row, column} & {0, 59}]
    for place in ring:
        framed[place] = 0.5 + (pixels[place] - 0.5) / 2
    values = [framed[place] for place in ring]
    middle = [framed[row, column] for row in range(10, 50) for column in range(10, 50)]
    expected = np.sqrt(
        np.mean(np.square(values - np.mean(values))) / np.mean(np.square(middle - np.mean(middle)))
    )
    assert border_contrast(framed) == pytest.approx(expected)
    assert border_contrast(pixels) == pytest.approx(2 * expected)


def test_colour_counts_by_its_luminance():
    pixels = np.random.default_rng(1).uniform(size=(24, 36))
    assert border_contrast(np.repeat(pixels[..., None], 3, axis=2)) == pytest.approx(border_contrast(pixels))


def test_images_whose_middle_is_constant_have_none():
    pixels = np.zeros((20, 20))
    pixels[0] = 1
    assert border_contrast(pixels) is None
    assert border_contrast(np.ones((1, 1))) is None
