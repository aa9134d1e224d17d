from __future__ import annotations

import numpy as np
import pytest
from scipy import fft as scipy_fft

from stimgen.images.read import read_image
from stimgen.measure import STATISTICS, DecodedImage

STATISTIC = STATISTICS["channel_distance"]


def error(image, source):
    known = STATISTIC.prepare(DecodedImage(source))
    return STATISTIC.measure(DecodedImage(image), known)["amplitude_error_rgb"]


def test_all_channels_together():
    coffee = read_image("skimage:coffee").pixels
    image, source = coffee[:48, :65], coffee[60:108, 70:135]
    own, goal = (np.abs(scipy_fft.fft2(x.astype(np.float64), axes=(0, 1))) for x in (image, source))
    own[0, 0] = goal[0, 0] = 0
    assert error(image, source) == pytest.approx(np.sqrt(np.sum((own - goal) ** 2) / np.sum(goal**2)))
    assert error(source[::-1, ::-1], source) == pytest.approx(0, abs=1e-6)


def test_where_luminance_sees_nothing():
    """Red that gives way to green at the same luminance."""
    source = np.full((16, 16, 3), 0.5)
    source[::2] += [0.1 / 0.2126, -0.1 / 0.7152, 0]
    flat = np.full((16, 16, 3), 0.5)
    assert error(flat, source) == pytest.approx(1)


def test_grey_images_other_shapes_and_constant_sources():
    rng = np.random.default_rng(1)
    colour = rng.random((8, 9, 3))
    assert error(colour[..., 0], colour[..., 1]) is None
    assert error(colour, colour.transpose(1, 0, 2)) is None
    assert error(colour, np.full((8, 9, 3), 0.4)) is None
