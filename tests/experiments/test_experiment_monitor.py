from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from experiments.shared.errors import ExperimentError
from experiments.shared.monitor import Monitor, check_ppd, load_monitor

GOOD = {"width_cm": 40, "distance_cm": 57.3, "size_px": [800, 600], "refresh_hz": 60, "linear": True}
EXAMPLE = Path(__file__).parents[2] / "experiments" / "monitor_example.yaml"


def load(tmp_path, **changes):
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    file = tmp_path / "lab.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return load_monitor(file)


def test_example_loads():
    monitor = load_monitor(EXAMPLE)
    assert (monitor.size_px, monitor.refresh_hz, monitor.gamma) == ((1920, 1080), 60, 2.2)


def test_pixels_per_degree(tmp_path):
    monitor = load(tmp_path, width_cm=53.1, size_px=[1920, 1080], distance_cm=65)
    # One degree, half of it on each side of the line of sight.
    degree_cm = 65 * (math.tan(math.radians(0.5)) - math.tan(math.radians(-0.5)))
    assert monitor.ppd == pytest.approx(degree_cm * 1920 / 53.1)
    assert monitor.ppd == pytest.approx(41.0, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width_cm": 0}, "width_cm must be a number above 0"),
        ({"distance_cm": None}, "distance_cm must be a number above 0, and is missing"),
        ({"refresh_hz": True}, "refresh_hz must be a number above 0"),
        ({"size_px": [800.5, 600]}, "size_px must be [width, height] in whole pixels"),
        ({"bits": 10.5}, "bits must be a whole number from 8 to 16"),
        ({"bits": 6}, "bits must be a whole number from 8 to 16"),
        ({"with_cm": 40}, "unknown key 'with_cm'"),
        ({"linear": None}, "exactly one of gamma, gamma_table and linear must be given"),
        ({"gamma": 2.2}, "exactly one of gamma, gamma_table and linear must be given"),
        ({"linear": None, "gamma": 0.4545}, "gamma is 0.4545, and must be from 1 to 4"),
        ({"linear": None, "gamma_table": ""}, "gamma_table must be the name of a CSV file"),
    ],
)
def test_wrong_value_is_refused(tmp_path, changes, problem):
    with pytest.raises(ExperimentError) as error:
        load(tmp_path, **changes)
    assert problem in error.value.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name: lab\nwidth_cm: 40\nwidth_cm: 50\n", "lab.yaml:3: the key width_cm is given twice."),
        (b"name: lab\nwidth_cm 40\ndistance_cm: 57\n", "lab.yaml:3: could not find expected ':'."),
        ("name: Büro\n".encode("latin-1"), "lab.yaml: is not a text in UTF-8.\nSave it anew as UTF-8."),
        (b"", "lab.yaml"),
        (b"- 1\n", "lab.yaml"),
        (b"\0", "lab.yaml"),
    ],
)
def test_wrong_text_is_refused_with_its_line(tmp_path, content, problem):
    (tmp_path / "lab.yaml").write_bytes(content)
    with pytest.raises(ExperimentError) as error:
        load_monitor(tmp_path / "lab.yaml")
    assert problem in str(error.value)


def test_ramp_has_an_entry_for_each_level_or_is_refused(tmp_path):
    monitor = load(tmp_path, linear=None, gamma=2.2, bits=10)
    assert monitor.ramp(1024).shape == (3, 1024)
    with pytest.raises(ExperimentError, match="256 entries, too few for 10 bits"):
        monitor.ramp(256)
    assert load(tmp_path, bits=10).ramp(256) is None


@given(st.floats(0.3, 4), st.sampled_from([256, 1024]))
def test_ramp_of_a_gamma_linearises_luminance(gamma, length):
    ramp = Monitor("m", 1, 1, (1, 1), 60, gamma=gamma).ramp(length)
    assert ramp is not None
    assert ramp.shape == (3, length)
    np.testing.assert_allclose(ramp**gamma, np.tile(np.linspace(0, 1, length), (3, 1)), atol=1e-9)


def write_table(tmp_path, header, rows):
    lines = [header, *(",".join(str(cell) for cell in row) for row in rows)]
    (tmp_path / "lab.csv").write_text("\n".join(lines) + "\n", "utf-8")


def test_ramp_of_a_table_linearises_luminance(tmp_path):
    level = np.linspace(0, 255, 52)
    curves = {gamma: 0.4 + 80 * (level / 255) ** gamma for gamma in (1.8, 2.2, 2.6)}
    write_table(tmp_path, "level,red,green,blue", zip(level, *curves.values(), strict=True))
    ramp = load(tmp_path, linear=None, gamma_table="lab.csv").ramp(256)
    assert ramp is not None
    for channel, gamma in zip(ramp, curves, strict=True):
        luminance = 0.4 + 80 * channel**gamma
        np.testing.assert_allclose(luminance, np.linspace(0.4, 80.4, 256), atol=0.1)


@pytest.mark.parametrize(
    ("header", "rows", "problem"),
    [
        ("level,cd", [(0, 1), (1, 2), (2, 3)], "must have the columns"),
        ("level,luminance", [(0, 1), (0.2, 1.5), (0.5, 4), (0.6, 4), (1, 9)], "rise in every column"),
        ("level,luminance", [(0, 1), (0.2, 2), (0.5, 4), (1, 9)], "5 or more rows"),
        (
            "level,luminance",
            [(0, 1), (64, 6), (128, 30), (192, 31), (255, 99)],
            "from what the others predict",
        ),
        ("level,luminance", [(1, 1), (64, 2), (128, 3), (192, 4), (255, 5)], "from 0 to 1, or from 0 to 255"),
        ("level,luminance", [(0, 1), (128, "x"), (255, 3)], "lab.csv:3: could not convert"),
        ("level,luminance", [(0, 1), (128, 1, 2), (255, 3)], "lab.csv:3: 3 cells, and the header has 2"),
    ],
)
def test_wrong_table_is_refused(tmp_path, header, rows, problem):
    write_table(tmp_path, header, rows)
    with pytest.raises(ExperimentError) as error:
        load(tmp_path, linear=None, gamma_table="lab.csv")
    assert problem in error.value.problem


def test_other_visual_angle_is_refused_with_the_right_distance(tmp_path):
    monitor = load(tmp_path)
    assert monitor.ramp(256) is None  # it is linear
    check_ppd(monitor, monitor.ppd * 1.019, allow_mismatch=False)
    check_ppd(monitor, None, allow_mismatch=False)
    check_ppd(monitor, 3, allow_mismatch=True)
    with pytest.raises(ExperimentError, match=r"Move the observer to 85\.9 cm"):
        check_ppd(monitor, monitor.ppd * 1.5, allow_mismatch=False)
    check_ppd(load(tmp_path, distance_cm=85.95), monitor.ppd * 1.5, allow_mismatch=False)


def srgb(level):
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    ("show", "readings"), [(lambda level: level**2.2, 8), (lambda level: level**1.8, 5), (srgb, 17)]
)
def test_contrast_is_what_was_asked_for_also_with_few_readings(tmp_path, show, readings):
    levels = np.rint(np.linspace(0, 255, readings))
    write_table(tmp_path, "level,luminance", [(level, 0.5 + 99.5 * show(level / 255)) for level in levels])
    monitor = load(tmp_path, linear=None, gamma_table="lab.csv")
    shown = show(monitor.ramp(1024)[0])
    for mean in (0.05, 0.2, 0.5, 0.9):
        low, high = np.interp([0.9 * mean, 1.1 * mean], np.linspace(0, 1, 1024), shown)
        assert (high - low) / (high + low) == pytest.approx(0.1, abs=0.001)
    assert monitor.described()["gamma_table_error"] < 0.1


def test_readings_too_far_apart_for_the_display_are_refused(tmp_path):
    write_table(tmp_path, "level,luminance", [(level, 100 * srgb(level)) for level in np.linspace(0, 1, 8)])
    with pytest.raises(ExperimentError, match="Measure more levels"):
        load(tmp_path, linear=None, gamma_table="lab.csv")
