from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from png_bytes import RGB, chunk, png_bytes

from stimgen.images.pixels import ImageError
from stimgen.images.read import read_image
from stimgen.images.sources import ImageSpec, SourceSpec, load_source

SIDE = 60


def disc(side=SIDE):
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    return np.hypot(rows, columns) < 0.4 * side


def spec(path, mask, **changes):
    return replace(SourceSpec("own", path.name, path, "centre", mask=mask), **changes)


def noise(seed=1, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, channels), dtype=np.uint8)


def cut_out(folder, pixels, inside=None, name="object.png"):
    """Save an object cut out of its background: RGB with alpha."""
    alpha = np.where(disc() if inside is None else inside, 255, 0).astype(np.uint8)
    Pillow.fromarray(np.dstack([pixels, alpha])).save(folder / name)
    return folder / name


def lanczos(side, smaller):
    """Return the matrix (smaller, side) of Lanczos weights of three lobes, in float64."""
    scale = side / smaller
    centres = (np.arange(smaller) + 0.5) * scale
    distance = (np.arange(side) + 0.5 - centres[:, np.newaxis]) / scale
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("color", ["grey", "rgb"])
@pytest.mark.parametrize("size_px", [60, 24])
def test_a_source_is_made_of_the_pixels_inside_alone(tmp_path, color, size_px):
    """Against the sums over the pixels inside, in float64: what lies outside has no weight."""
    pixels = noise()
    image = ImageSpec(size_px, None, None, color)
    source = load_source(spec(cut_out(tmp_path, pixels), "alpha"), image, name="a")
    plane = pixels / 255 if color == "rgb" else pixels / 255 @ [0.2126, 0.7152, 0.0722]
    planes = plane.reshape(SIDE, SIDE, -1) * disc()[..., np.newaxis]
    weights = lanczos(SIDE, size_px) if size_px < SIDE else np.eye(SIDE)
    total = weights @ disc() @ weights.T
    sums = np.stack([weights @ planes[..., k] @ weights.T for k in range(planes.shape[2])], axis=2)
    np.testing.assert_array_equal(source.inside, total > 0.5)
    inside = source.inside
    expected = np.clip(sums[inside] / total[inside][:, np.newaxis], 0, 1)
    found = source.pixels.reshape(size_px, size_px, -1)
    np.testing.assert_allclose(found[inside], expected, atol=2e-6)
    outside = np.broadcast_to(expected.mean(axis=0), found[~inside].shape)
    np.testing.assert_allclose(found[~inside], outside, atol=2e-6)
    assert source.mask == "alpha"
    np.testing.assert_array_equal(source.counted[:, 0].reshape(inside.sum(), -1), found[inside])


@pytest.mark.parametrize("linearise", ["none", "srgb"])
def test_pixels_outside_can_be_anything(tmp_path, linearise):
    image = ImageSpec(24, None, None, "rgb")
    outside = ~disc()
    loaded = []
    for value in (0, 255, noise(2)[outside]):
        pixels = noise()
        pixels[outside] = value
        path = cut_out(tmp_path, pixels)
        loaded.append(load_source(spec(path, "alpha", linearise=linearise), image, name="a"))
    for other in loaded[1:]:
        assert other.pixels.tobytes() == loaded[0].pixels.tobytes()
        assert other.clipped_share == loaded[0].clipped_share


def test_a_mask_file_is_the_same_as_alpha_and_is_known_by_its_bytes(tmp_path):
    pixels, image = noise(), ImageSpec(24, None, None, "grey")
    by_alpha = load_source(spec(cut_out(tmp_path, pixels), "alpha"), image, name="a")
    Pillow.fromarray(pixels).save(tmp_path / "whole.png")
    mask = tmp_path / "mask.png"
    Pillow.fromarray(np.where(disc(), 200, 100).astype(np.uint8)).save(mask)
    by_file = load_source(spec(tmp_path / "whole.png", mask), image, name="a")
    np.testing.assert_array_equal(by_file.pixels, by_alpha.pixels)
    np.testing.assert_array_equal(by_file.inside, by_alpha.inside)
    assert by_file.mask == f"sha256:{hashlib.sha256(mask.read_bytes()).hexdigest()}"


def test_pixels_that_are_partly_opaque_are_outside(tmp_path):
    pixels = noise(channels=4)
    pixels[..., 3] = 254
    pixels[10:20, 10:20, 3] = 255
    Pillow.fromarray(pixels).save(tmp_path / "soft.png")
    image = ImageSpec(SIDE, None, None, "rgb")
    source = load_source(spec(tmp_path / "soft.png", "alpha"), image, name="a")
    assert source.inside.sum() == 100
    assert source.inside[10:20, 10:20].all()


def test_transparency_of_other_kinds_is_found(tmp_path):
    """A colour that a PNG file names as transparent, and TIFF, turned as its orientation tag says."""
    pixels = noise()
    pixels[:30] = (1, 2, 3)
    key = chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))
    (tmp_path / "key.png").write_bytes(png_bytes(pixels, RGB, 8, extra=key))
    turned = np.dstack([pixels, np.where(np.arange(SIDE)[:, np.newaxis] < 30, 0, 255) * np.ones((1, SIDE))])
    tag = (274, "H", 1, 3, True)
    tifffile.imwrite(
        tmp_path / "turned.tif",
        turned.astype(np.uint8),
        photometric="rgb",
        extrasamples=["unassalpha"],
        extratags=[tag],
    )
    image = ImageSpec(SIDE, None, None, "rgb")
    by_key = load_source(spec(tmp_path / "key.png", "alpha"), image, name="a")
    assert not by_key.inside[:30].any()
    assert by_key.inside[30:].all()
    upright = load_source(spec(tmp_path / "turned.tif", "alpha"), image, name="a")
    np.testing.assert_array_equal(upright.inside, by_key.inside[::-1])


def test_what_is_no_mask_is_refused(tmp_path):
    image = ImageSpec(24, None, None, "grey")
    cut = cut_out(tmp_path, noise())
    with pytest.raises(ImageError, match="transparent pixels") as caught:
        read_image(cut)
    assert "mask: alpha" in caught.value.cure
    Pillow.fromarray(noise()).save(tmp_path / "opaque.png")
    Pillow.new("L", (SIDE, 30), 255).save(tmp_path / "small.png")
    Pillow.new("L", (SIDE, SIDE), 0).save(tmp_path / "black.png")
    thin = np.zeros((SIDE, SIDE), bool)
    thin[::5, ::5] = True
    for path, mask, words in (
        (tmp_path / "opaque.png", "alpha", "no alpha channel"),
        (tmp_path / "opaque.png", tmp_path / "small.png", "is 60 × 30 px, and .*opaque.png 60 × 60 px"),
        (tmp_path / "opaque.png", tmp_path / "black.png", "no pixel of its crop is inside"),
        (cut_out(tmp_path, noise(), thin, "thin.png"), "alpha", "no pixel of its crop is inside"),
        (tmp_path / "opaque.png", Path("gone.png"), "no file"),
    ):
        with pytest.raises(ImageError, match=words):
            load_source(spec(path, mask), image, name="a")
