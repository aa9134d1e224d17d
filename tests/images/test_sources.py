from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from stimgen.images.pixels import ImageError, luminance
from stimgen.images.read import read_image
from stimgen.images.sources import Box, ImageSpec, SourceSpec, load_source, shrink


def source_spec(**changes):
    return replace(SourceSpec("brick", "skimage:brick", None, "centre"), **changes)


def size(size_px=256, color="grey"):
    return ImageSpec(size_px, None, None, color)


def png(tmp_path, values, name="image.png"):
    file = io.BytesIO()
    Pillow.fromarray(values).save(file, "PNG")
    path = tmp_path / name
    path.write_bytes(file.getvalue())
    return source_spec(id="own", image=f"textures/{name}", path=path)


def colour_noise(height, width):
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grating(cycles):
    x = np.arange(512) / 512
    return np.tile(0.5 + 0.5 * np.sin(2 * np.pi * cycles * x), (512, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "box"),
    [((40, 60), Box(10, 0, 40, 40)), ((61, 40), Box(0, 10, 40, 40)), ((40, 40), Box(0, 0, 40, 40))],
)
def test_centre_is_the_largest_central_square(tmp_path, shape, box):
    values = colour_noise(*shape)
    source = load_source(png(tmp_path, values), size(40, "rgb"), name="exp1")
    assert source.crop_box == box
    assert source.original_size == shape
    cut = values[box.top : box.top + 40, box.left : box.left + 40]
    np.testing.assert_array_equal(source.pixels, (cut / 255).astype(np.float32))
    assert source.clipped_share == 0


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 300, 256), "is not a square"),
        ((300, 0, 256, 256), "which is 512 × 512 pixels"),
        ((0, 257, 256, 256), "leaves the image"),
        ((-1, 0, 256, 256), "leaves the image"),
        ((0, 0, 128, 128), "128 × 128 pixels, smaller than the stimuli"),
    ],
)
def test_bad_box(box, words):
    with pytest.raises(ImageError, match=words) as caught:
        load_source(source_spec(crop=box), size(), name="exp1")
    assert 'Source "brick"' in caught.value.problem
    assert caught.value.cure


def test_random_crop_is_at_the_resolution_of_the_file_and_inside():
    pixels = read_image("skimage:brick").pixels
    boxes = set()
    for number in range(40):
        source = load_source(source_spec(id=f"brick{number}", crop="random"), size(500), name="exp1")
        left, top, width, height = source.crop_box
        assert (width, height) == (500, 500)
        np.testing.assert_array_equal(source.pixels, pixels[top : top + 500, left : left + 500])
        boxes.add((left, top))
    lefts, tops = {left for left, _ in boxes}, {top for _, top in boxes}
    assert min(lefts) <= 1
    assert max(lefts) >= 11
    assert min(tops) <= 1
    assert max(tops) >= 11


def test_random_crop_depends_on_manifest_name_and_source_id_only():
    def box(source_id, name):
        return load_source(source_spec(id=source_id, crop="random"), size(), name=name).crop_box

    digest = hashlib.sha256(b"crop\0exp1\0brick").digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    top, left = int(rng.integers(257)), int(rng.integers(257))
    assert box("brick", "exp1") == box("brick", "exp1") == Box(left, top, 256, 256)
    assert box("brick2", "exp1") != box("brick", "exp1") != box("brick", "exp2")


@pytest.mark.parametrize("crop", ["centre", "random"])
def test_nothing_is_enlarged(tmp_path, crop):
    asked = png(tmp_path, colour_noise(100, 300))
    with pytest.raises(ImageError) as caught:
        load_source(replace(asked, crop=crop), size(128), name="exp1")
    message = str(caught.value)
    assert "100 × 100 pixels" in message
    assert "128 × 128" in message
    assert "set size_px to 100 or less" in message


def test_grey_is_rec_709_luminance(tmp_path):
    values = colour_noise(32, 32)
    source = load_source(png(tmp_path, values), size(32, "grey"), name="exp1")
    expected = values.astype(np.float64) / 255 @ [0.2126, 0.7152, 0.0722]
    np.testing.assert_allclose(source.pixels, expected, atol=1e-6)
    assert source.pixels.dtype == np.float32


def test_grey_source_in_colour_has_three_equal_channels():
    source = load_source(source_spec(), size(128, "rgb"), name="exp1")
    assert source.pixels.shape == (128, 128, 3)
    grey = load_source(source_spec(), size(128, "grey"), name="exp1")
    for channel in range(3):
        np.testing.assert_array_equal(source.pixels[:, :, channel], grey.pixels)


@pytest.mark.parametrize("cycles", [96, 128, 200, 250])
def test_grating_above_the_new_nyquist_frequency_averages_out(cycles):
    small, clipped_share = shrink(grating(cycles), 128)
    inner = small[:, 8:-8]
    assert inner.std() < 0.01
    np.testing.assert_allclose(inner.mean(), 0.5, atol=1e-3)
    assert clipped_share == 0
    assert grating(cycles)[:, ::4].std() > 0.3 or cycles == 128


@pytest.mark.parametrize("cycles", [4, 16, 40])
def test_grating_below_the_new_nyquist_frequency_keeps_its_contrast(cycles):
    small, _ = shrink(grating(cycles), 128)
    centres = (np.arange(128) * 4 + 1.5) / 512
    expected = 0.5 + 0.5 * np.sin(2 * np.pi * cycles * centres)
    np.testing.assert_allclose(small[64, 8:-8], expected[8:-8], atol=0.06)


@pytest.mark.parametrize(("name", "size_px"), [("brick", 64), ("chelsea", 255), ("gravel", 300)])
def test_mean_is_kept(name, size_px):
    crop = (0, 0, 300, 300)
    source = load_source(source_spec(image=f"skimage:{name}", crop=crop), size(size_px, "grey"), name="exp1")
    cut = luminance(read_image(f"skimage:{name}").pixels)[:300, :300]
    np.testing.assert_allclose(source.pixels.mean(), cut.mean(), atol=1e-3)
    assert source.pixels.shape == (size_px, size_px)


def test_overshoot_is_clipped_and_counted():
    edge = np.zeros((128, 128), np.float32)
    edge[:, 64:] = 1
    small, clipped_share = shrink(edge, 32)
    assert small.min() == 0
    assert small.max() == 1
    assert 0 < clipped_share < 0.3
    _, none_clipped = shrink(edge * 0.5 + 0.25, 32)
    assert none_clipped == 0


def test_origin_is_the_manifests_name_for_a_file(tmp_path):
    asked = png(tmp_path, colour_noise(32, 32))
    source = load_source(asked, size(32), name="exp1")
    assert source.origin == "textures/image.png"
    assert source.sha256 == hashlib.sha256(asked.path.read_bytes()).hexdigest()
    assert source.id == "own"
