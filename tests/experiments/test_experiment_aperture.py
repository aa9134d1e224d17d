from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from png_bytes import GREY, RGB, png_bytes

from experiments.shared.aperture import aperture, background_level, windowed
from experiments.shared.trial_list import Patch


@given(st.integers(1, 80), st.sampled_from(["circle", "square"]), st.floats(0, 20))
def test_aperture_is_symmetric_and_within_0_and_1(side, shape, ramp_px):
    weights = aperture(side, shape, ramp_px)
    assert weights.shape == (side, side)
    assert weights.min() >= 0
    assert weights.max() <= 1
    for same in (weights[::-1], weights[:, ::-1], weights.T):
        np.testing.assert_array_equal(weights, same)


@pytest.mark.parametrize("shape", ["circle", "square"])
def test_ramp_is_a_raised_cosine_from_the_edge(shape):
    middle = aperture(64, shape, 6)[32]
    # Row 32 is half a pixel below the centre; the circle's edge is 0.004 px nearer there.
    distances = np.arange(6) + 0.5
    np.testing.assert_allclose(middle[:6], (1 - np.cos(np.pi * distances / 6)) / 2, atol=0.003)
    assert (middle[6:58] > 0.9999).all()


def test_aperture_without_a_ramp_has_a_hard_edge():
    np.testing.assert_array_equal(aperture(20, "square", 0), np.ones((20, 20)))
    assert [background_level(fraction) for fraction in (0, 0.5, 0.3, 1)] == [0, 128, 77, 255]
    hard = aperture(20, "circle", 0)
    assert set(np.unique(hard)) == {0, 1}
    assert hard.sum() == pytest.approx(np.pi * 100, rel=0.02)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_patch_of_a_16_bit_file_is_fractions_of_white(tmp_path, channels):
    pytest.importorskip("cv2")
    pixels = np.random.default_rng(1).integers(0, 2**16, (30, 40, *channels), dtype=np.uint16)
    (tmp_path / "image.png").write_bytes(png_bytes(pixels, RGB if channels else GREY, 16))
    patch = Patch("image", tmp_path / "image.png", 12, 5, 16, "")
    crop = pixels[5:21, 12:28] / 65535
    np.testing.assert_allclose(windowed(patch, np.ones((16, 16)), 77), crop, rtol=0, atol=1e-12)
    half = windowed(patch, np.full((16, 16), 0.5), 77)
    np.testing.assert_allclose(half, (crop + 77 / 255) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_patch_is_set_on_the_background(tmp_path, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    patch = Patch("image", tmp_path / "image.png", 12, 5, 16, "")
    crop = pixels[5:21, 12:28]
    np.testing.assert_array_equal(windowed(patch, np.ones((16, 16)), 77), crop)
    assert (windowed(patch, np.zeros((16, 16)), 77) == 77).all()
    half = windowed(patch, np.full((16, 16), 0.5), 77).astype(float)
    np.testing.assert_allclose(half, (crop.astype(float) + 77) / 2, atol=0.5)
