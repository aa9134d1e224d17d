"""The pixels of a real window, read back from its buffer, against those of the PNG files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from example_run import CROP_PX, make_run, monitor_file, oddity_list, read_csv, two_interval_list
from PIL import Image
from png_bytes import GREY, RGB, png_bytes

pytestmark = pytest.mark.slow

BACKGROUND = 128
READ_BACK = """
import json
import numpy as np
from pathlib import Path
from PIL import Image
from experiments.shared.display import Display
from experiments.shared.monitor import load_monitor

display = Display(load_monitor(Path("readback.yaml")), 128, windowed=True)
images = [
    display.image(np.asarray(Image.open(file)), tuple(centre))
    for file, centre in json.loads(Path("images.json").read_text())
]
display.screenshots = {}
display.begin_trial()
display.show("presentation", images, 2)
np.save("screen.npy", display.screenshots["presentation"])
display.close()
"""


def test_images_with_even_and_odd_sides_are_shown_pixel_by_pixel(laboratory):
    """Every pixel differs from its neighbours, so that any shift or blend shows."""
    rng = np.random.default_rng(1)
    width, height = 801, 601
    monitor_file(laboratory.folder / "readback.yaml", (width, height))
    centres = {64: (-200, 100), 63: (150, 120), 97: (-3, -150), 1: (300, -200)}
    images, files = [], []
    for channels in (1, 3):
        for side, (right, up) in centres.items():
            pixels = rng.integers(0, 256, (side, side, channels), dtype=np.uint8)
            file = laboratory.folder / f"{side}-{channels}.png"
            Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(file)
            centre = (right + (70 * side // 60 if channels == 3 else 0), up)
            images.append((pixels, centre))
            files.append([str(file), centre])
    (laboratory.folder / "images.json").write_text(json.dumps(files), "utf-8")
    laboratory.python(READ_BACK)
    screen = np.load(laboratory.folder / "screen.npy")
    assert screen.shape == (height, width, 3)
    for pixels, (right, up) in images:
        side = len(pixels)
        # The nearest place that begins on a pixel is within half a pixel of the centre.
        left, top = width / 2 + right - side / 2, height / 2 - up - side / 2
        found = [
            (x, y)
            for x in {int(np.floor(left)), int(np.ceil(left))}
            for y in {int(np.floor(top)), int(np.ceil(top))}
            if (screen[y : y + side, x : x + side] == pixels).all()
        ]
        ((x, y),) = found
        screen[y : y + side, x : x + side] = BACKGROUND
    assert (screen == BACKGROUND).all()


READ_SAMPLES = """
import numpy as np
from pathlib import Path
from psychopy import visual
from pyglet import gl
from experiments.shared.aperture import windowed
from experiments.shared.display import Display
from experiments.shared.monitor import load_monitor
from experiments.shared.trial_list import Patch

display = Display(load_monitor(Path("monitor.yaml")), 128, windowed=True)


def samples():
    found = (gl.GLushort * (800 * 600 * 3))()
    gl.glReadBuffer(gl.GL_BACK)
    gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
    gl.glReadPixels(0, 0, 800, 600, gl.GL_RGB, gl.GL_UNSIGNED_SHORT, found)
    return np.frombuffer(found, np.uint16).reshape(600, 800, 3)[::-1] / 65535


for name in ("grey", "colour"):
    file = Path(name + ".png")
    patch = Patch(name, file, 0, 0, 64, "")
    display.image(windowed(patch, np.ones((64, 64)), 128)).draw()
    np.save(name + ".npy", samples())
    display.window.clearBuffer()
    visual.ImageStim(display.window, str(file), units="pix", size=(64, 64), interpolate=False).draw()
    np.save(name + "-by-psychopy.npy", samples())
    display.window.clearBuffer()
display.close()
"""


@pytest.mark.parametrize(
    ("fixture", "level"),
    # Software rendering rounds to 8 bits, and cuts to 10.
    [("laboratory", 0.51 / 255), ("laboratory_of_10_bits", 1 / 1023)],
)
def test_16_bit_images_are_shown_in_the_bits_of_the_display(request, fixture, level):
    """PsychoPy itself shows few levels of grey files, and cuts colour to 8 bits: also on 10-bit displays."""
    laboratory, rng = request.getfixturevalue(fixture), np.random.default_rng(1)
    wanted = {}
    for name, shape, kind in (("grey", (64, 64), GREY), ("colour", (64, 64, 3), RGB)):
        pixels = rng.integers(0, 2**16, shape, dtype=np.uint16)
        (laboratory.folder / f"{name}.png").write_bytes(png_bytes(pixels, kind, 16))
        wanted[name] = (pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, 2)) / 65535
    laboratory.python(READ_SAMPLES)
    for name, pixels in wanted.items():
        screen, by_psychopy = (
            np.load(laboratory.folder / f"{name}{how}.npy") for how in ("", "-by-psychopy")
        )
        place = np.s_[268:332, 368:432]
        assert np.abs(screen[place] - pixels).max() <= level
        screen[place] = 128 / 255
        assert np.abs(screen - 128 / 255).max() <= level
        error = np.abs(by_psychopy[place] - pixels).max() * 255
        assert error > 200 if name == "grey" else 0.9 < error < 1.01


def test_display_without_the_bits_of_the_calibration_is_refused(laboratory):
    monitor_file(laboratory.folder / "monitor.yaml", bits=10, linear=True)
    command = laboratory.command(oddity_list(laboratory.run_folder), "--screenshot", "shot.png")
    assert "gives no window with 10 bits per colour" in laboratory.run(command, exit_code=2)


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
