"""The pixels of a real window, read back from its buffer, against those of the PNG files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from example_run import CROP_PX, make_run, monitor_file, oddity_list, read_csv, two_interval_list
from PIL import Image

pytestmark = pytest.mark.slow

READBACK = Path(__file__).with_name("readback.py")
BACKGROUND = 128


def noise(path, height, width, color="grey"):
    """Write an image in which every pixel differs from its neighbours, so that any shift or blend shows."""
    rng = np.random.default_rng(height + width)
    pixels = rng.integers(0, 256, (height, width) if color == "grey" else (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels if color == "rgb" else np.repeat(pixels[..., None], 3, axis=2)


def read_back(laboratory, patches, size_px=(800, 600)):
    monitor_file(laboratory.folder / "readback.yaml", size_px)
    (laboratory.folder / "patches.json").write_text(json.dumps(patches), "utf-8")
    laboratory.run([sys.executable, str(READBACK), "readback.yaml", "patches.json", "screen.npy"])
    screen = np.load(laboratory.folder / "screen.npy")
    assert screen.shape == (size_px[1], size_px[0], 3)
    return screen


def whole(file, side, centre_px=(0, 0)):
    cells = {"file": str(file), "x": 0, "y": 0, "side": side, "centre_px": centre_px}
    return cells | {"aperture": "square", "ramp_px": 0}


def test_images_with_even_and_odd_sides_are_shown_pixel_by_pixel(laboratory):
    size_px = (801, 601)
    sides = {64: (-200, 100), 63: (150, 120), 97: (-3, -150), 1: (300, -200)}
    patches, images = [], {}
    for color, shift in {"grey": 0, "rgb": 70}.items():
        for side, (right, up) in sides.items():
            file = laboratory.folder / f"{color}{side}.png"
            images[color, side] = noise(file, side, side, color), (right + shift * side // 60, up)
            patches.append(whole(file, side, images[color, side][1]))
    screen = read_back(laboratory, patches, size_px)
    for (color, side), (pixels, (right, up)) in images.items():
        # The nearest place that begins on a pixel: within half a pixel of the wanted centre.
        left = size_px[0] / 2 + right - side / 2
        top = size_px[1] / 2 - up - side / 2
        found = [
            (x, y)
            for x in {int(np.floor(left)), int(np.ceil(left))}
            for y in {int(np.floor(top)), int(np.ceil(top))}
            if np.array_equal(screen[y : y + side, x : x + side], pixels)
        ]
        assert len(found) == 1, f"{color}, {side} px"
        (x, y) = found[0]
        screen[y : y + side, x : x + side] = BACKGROUND
    assert (screen == BACKGROUND).all()


def test_aperture_shows_the_file_inside_and_the_background_outside(laboratory):
    side, ramp = 64, 6
    cases = [("circle", "grey"), ("square", "rgb")]
    pixels, patches = [], []
    for i, (shape, color) in enumerate(cases):
        pixels.append(noise(laboratory.folder / f"{i}.png", side, side, color))
        patches.append(whole(f"{i}.png", side, (100 * i, 0)) | {"aperture": shape, "ramp_px": ramp})
    screen = read_back(laboratory, patches)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    for i, (shape, _) in enumerate(cases):
        place = np.s_[300 - 32 : 300 + 32, 400 + 100 * i - 32 : 400 + 100 * i + 32]
        found = screen[place].copy()
        to_centre = np.hypot(x, y) if shape == "circle" else np.maximum(abs(x), abs(y))
        plateau, outside = to_centre < side / 2 - ramp, to_centre > side / 2
        assert plateau.sum() > 1500
        np.testing.assert_array_equal(found[plateau], pixels[i][plateau])
        assert (found[outside] == BACKGROUND).all()
        between = ~plateau & ~outside
        assert (abs(found[between] - 128.0) <= abs(pixels[i][between] - 128.0)).all()
        assert not np.array_equal(found[between], pixels[i][between])
        screen[place] = BACKGROUND
    assert (screen == BACKGROUND).all()


def test_oddity_trial_shows_the_crops_of_its_row(laboratory):
    run_folder = make_run(laboratory.folder / "results" / "rgb", color="rgb")
    trial_list = oddity_list(run_folder)
    options = ["--screenshot", "shot.png", "--aperture", "square", "--ramp-px", 0, "--background", 0.3]
    laboratory.run(laboratory.command(trial_list, *options))
    screen = np.asarray(Image.open(laboratory.folder / "shot.png"))
    row = read_csv(trial_list)[0]
    # 20 px per degree: patches at a radius of 3° * 20 + 10 = 70 px, at 150°, 30° and 270°.
    radius = 70
    directions = {"left": (-np.sqrt(3) / 2, 0.5), "right": (np.sqrt(3) / 2, 0.5), "bottom": (0, -1)}
    rest = np.ones(screen.shape[:2], dtype=bool)
    for place, (right, up) in directions.items():
        x = round(400 + radius * right - CROP_PX / 2)
        y = round(300 - radius * up - CROP_PX / 2)
        with Image.open(trial_list.parent / row[f"{place}_file"]) as image:
            left, top = int(row[f"{place}_x"]), int(row[f"{place}_y"])
            wanted = np.asarray(image.convert("RGB"))[top : top + CROP_PX, left : left + CROP_PX]
        np.testing.assert_array_equal(screen[y : y + CROP_PX, x : x + CROP_PX], wanted)
        rest[y : y + CROP_PX, x : x + CROP_PX] = False
    y, x = np.mgrid[:600, :800]
    dot = np.hypot(x - 399.5, y - 299.5) < 4
    assert (screen[rest & ~dot] == 77).all()  # 0.3 of 255
    assert (screen[299:301, 399:401] == 0).all()


def test_trial_with_two_intervals_shows_images_at_fixation_and_a_dot_between(laboratory):
    trial_list = two_interval_list(laboratory.run_folder)
    options = ["--screenshot", "shot.png", "--aperture", "square", "--ramp-px", 0]
    laboratory.run(laboratory.command(trial_list, *options))
    screen = np.asarray(Image.open(laboratory.folder / "shot.png"))
    assert screen.shape == (600, 3 * 800, 3)
    row = read_csv(trial_list)[0]
    for interval, offset in (("first", 0), ("second", 1600)):
        x, y = int(row[f"{interval}_x"]), int(row[f"{interval}_y"])
        with Image.open(trial_list.parent / row[f"{interval}_file"]) as image:
            wanted = np.asarray(image.convert("RGB"))[y : y + CROP_PX, x : x + CROP_PX]
        np.testing.assert_array_equal(screen[290:310, offset + 390 : offset + 410], wanted)
    between = screen[:, 800:1600]
    assert (between[299:301, 399:401] == 0).all()
    assert (between[290:310, 380:390] == 128).all()
