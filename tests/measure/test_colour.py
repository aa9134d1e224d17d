from __future__ import annotations

import numpy as np
import pytest
from skimage import color

from stimgen.images.read import read_image
from stimgen.measure import STATISTICS, DecodedImage
from stimgen.measure.colour import CHANNELS, cielab


def measured(image):
    return STATISTICS["colour"].measure(DecodedImage(image), None)


@pytest.fixture(scope="module")
def coffee():
    return read_image("skimage:coffee").pixels[:64, :80]


def test_channels_are_those_of_numpy(coffee):
    found = measured(coffee)
    planes = coffee.reshape(-1, 3).astype(np.float64)
    assert [found[f"{name}_mean"] for name in CHANNELS] == pytest.approx(planes.mean(axis=0))
    assert [found[f"{name}_sd"] for name in CHANNELS] == pytest.approx(planes.std(axis=0))
    correlations = np.corrcoef(planes.T)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        name = f"{CHANNELS[first]}_{CHANNELS[second]}_correlation"
        assert found[name] == pytest.approx(correlations[first, second])


def test_contrasts_are_those_of_skimages_cielab(coffee):
    linear = coffee.astype(np.float64)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    expected = color.rgb2lab(encoded).reshape(-1, 3).std(axis=0)
    found = measured(coffee)
    assert [found[f"cielab_{axis}_sd"] for axis in "lab"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_published_values_of_the_primaries(rgb, lab):
    assert cielab(np.array([rgb], float).T)[:, 0] == pytest.approx(lab, abs=0.05)


def test_grey_images_have_no_colour_and_equal_channels_no_chroma():
    grey = read_image("skimage:brick").pixels[:32, :32]
    assert set(measured(grey).values()) == {None}
    found = measured(np.repeat(grey[..., np.newaxis], 3, axis=2))
    assert found["red_green_correlation"] == pytest.approx(1)
    assert (found["cielab_a_sd"], found["cielab_b_sd"]) == pytest.approx((0, 0), abs=1e-6)
    assert found["cielab_l_sd"] > 1


def test_a_constant_channel_has_no_correlation(coffee):
    image = coffee.copy()
    image[..., 1] = np.float32(1 / 3)
    found = measured(image)
    assert found["green_sd"] == 0
    assert (found["red_green_correlation"], found["green_blue_correlation"]) == (None, None)
    assert found["red_blue_correlation"] is not None
