"""Whole sessions in real processes, on a real window: simulated, by real keys, killed, stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from example_run import CORRECT_KEY, monitor_file, oddity_list, read_csv, two_interval_list, write_csv

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def session_folder(laboratory, design="oddity"):
    return laboratory.data / design / "p01_1"


def wait_for_trials(file, number, process):
    """Wait until there are so many trials in the data file."""
    for _ in range(6000):
        if file.exists() and file.read_bytes().count(b"\n") > number:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{number} trials did not come")


def test_simulated_oddity_session(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    assert "12 of 12 trials are in" in laboratory.run(laboratory.command(trial_list, "--simulate", 3))
    folder = session_folder(laboratory)
    listed, rows = read_csv(trial_list), read_csv(folder / "trials.csv")
    assert len(rows) == 12
    for trial, row in zip(listed, rows, strict=True):
        assert {name: row[name] for name in trial} == trial
        assert row["response"] in ("left", "right", "down")
        assert row["correct"] == str(int(row["response"] == CORRECT_KEY[row["odd_position"]]))
        assert 0 < float(row["rt_s"]) < 10
        assert float(row["shown_s"]) > 0
        assert (row["participant"], row["session"], row["simulated"]) == ("p01", "1", "1")
    assert {row["correct"] for row in rows} == {"0", "1"}
    frames = read_csv(folder / "frames.csv")
    for row in rows:
        of_trial = [frame for frame in frames if frame["trial_number"] == row["trial_number"]]
        assert len(of_trial) == int(row["frames"]) - 1
        assert sum(int(frame["dropped"]) for frame in of_trial) == int(row["dropped_frames"])
        assert {frame["phase"] for frame in of_trial} >= {"interval", "presentation"}
        shown = sum(float(frame["interval_s"]) for frame in of_trial if frame["phase"] == "presentation")
        assert shown == pytest.approx(float(row["shown_s"]), abs=1e-4)
    for row, saved in zip(rows, read_csv(folder / "psychopy.csv"), strict=True):
        assert all(saved.get(name, "") == value for name, value in row.items())
    metadata = json.loads((folder / "session.json").read_text("utf-8"))
    assert metadata["settings"]["monitor"]["ppd"] == pytest.approx(20, abs=0.01)
    (sitting,) = metadata["sittings"]
    assert (sitting["first_trial"], sitting["last_trial"], sitting["ended_by"]) == (1, 12, "last trial")
    assert sitting["versions"]["psychopy"]
    dictionary = json.loads((folder / "trials.json").read_text("utf-8"))
    assert set(dictionary) == set(rows[0]) - set(listed[0])


def test_simulated_session_with_two_intervals(laboratory):
    trial_list = two_interval_list(laboratory.run_folder, "same_different")
    perfect = ["--observer-column", "gram_relative_pool4", "--observer-threshold", -10]
    laboratory.run(laboratory.command(trial_list, "--simulate", 3, *perfect))
    rows = read_csv(session_folder(laboratory, "two_interval") / "trials.csv")
    assert [row["response"] for row in rows] == [trial["correct_key"] for trial in read_csv(trial_list)]
    assert all(float(row[name]) > 0 for row in rows for name in ("shown_s", "isi_shown_s", "shown_second_s"))


def test_killed_session_is_resumed(laboratory):
    command = laboratory.command(oddity_list(laboratory.run_folder, 80, 40), "--simulate", 1)
    file = session_folder(laboratory) / "trials.csv"
    with laboratory.start(command) as process:
        wait_for_trials(file, 20, process)
        os.kill(process.pid, signal.SIGKILL)
    before = file.read_bytes()
    completed = before.count(b"\n") - 1
    assert 20 <= completed < 80
    assert "80 of 80 trials" in laboratory.run([*command, "--resume"])
    assert file.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert [row["trial_number"] for row in read_csv(file)] == [str(number) for number in range(1, 81)]
    sittings = json.loads(file.with_name("session.json").read_text("utf-8"))["sittings"]
    assert [sitting["first_trial"] for sitting in sittings] == [1, completed + 1]
    assert "ended_by" not in sittings[0]
    assert len(read_csv(file.with_name("psychopy.csv"))) == 80


@pytest.fixture
def press(virtual_display):
    """Press and release a key of the virtual display's keyboard."""
    from Xlib import XK, X
    from Xlib.display import Display
    from Xlib.ext import xtest

    display = Display(virtual_display["DISPLAY"])

    def press_key(name, held_s=0.0):
        code = display.keysym_to_keycode(XK.string_to_keysym(name))
        for event in (X.KeyPress, X.KeyRelease):
            xtest.fake_input(display, event, code)
            display.sync()
            time.sleep(held_s)

    yield press_key
    display.close()


def press_until(press, names, condition, process, held_s):
    for i in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        press(names[i % len(names)], held_s)
        time.sleep(0.02)
    raise AssertionError(f"{names} had no effect")


@pytest.mark.parametrize("held_s", [0.0, 0.05], ids=["tap", "held"])
def test_real_keys_answer_and_escape_stops(laboratory, press, held_s):
    """A virtual display shows about 1000 frames per second."""
    trial_list = oddity_list(laboratory.run_folder, 8, 2)
    rows = [row | {"response_s": "60"} for row in read_csv(trial_list)]
    rows[0]["response_s"] = "0.01"  # too short for an answer
    write_csv(trial_list, rows)
    monitor_file(laboratory.folder / "monitor.yaml", refresh_hz=1000, linear=True)
    command = laboratory.command(trial_list, "--allow-refresh-mismatch")
    file = session_folder(laboratory) / "trials.csv"

    def number_of_trials():
        return file.read_bytes().count(b"\n") - 1 if file.exists() else 0

    with laboratory.start(command) as process:
        press_until(press, ["space"], lambda: number_of_trials() >= 1, process, held_s)
        press_until(press, ["Left"], lambda: number_of_trials() == 2, process, held_s)
        # A break comes before the third trial; other keys do nothing there.
        press_until(press, ["space", "Down"], lambda: number_of_trials() == 3, process, held_s)
        press_until(press, ["Escape"], lambda: process.poll() is not None, process, held_s)
        output, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "3 of 8 trials are in" in output
    assert "The same command goes on" in output
    answered = read_csv(file)
    assert [row["response"] for row in answered] == ["", "left", "down"]
    assert answered[0]["correct"] == ""
    for row in answered[1:]:
        assert 0 < float(row["rt_s"]) < 60
        assert row["correct"] == str(int(row["response"] == row["correct_key"]))
    (sitting,) = json.loads(file.with_name("session.json").read_text("utf-8"))["sittings"]
    assert (sitting["ended_by"], sitting["last_trial"]) == ("escape", 3)


def test_dropped_frames_are_counted(laboratory):
    """One drawing in the second trial takes half a second; frames are dropped after 0.15 s at 10 Hz."""
    two_interval_list(laboratory.run_folder, trials=3)
    monitor_file(laboratory.folder / "monitor.yaml", refresh_hz=10, linear=True)
    laboratory.python("""
import time
from experiments.two_interval import two_interval

class SlowOnce:
    drawn = 0
    def draw(self):
        SlowOnce.drawn += 1
        if SlowOnce.drawn == 2:
            time.sleep(0.5)

show = two_interval.show_trial
def show_slowly(stage, trial, images):
    return show(stage, trial, {**images, "second": SlowOnce()} if trial.number == 2 else images)
two_interval.show_trial = show_slowly
list_and_monitor = ["results/example/trials/two_interval.csv", "--monitor", "monitor.yaml"]
code = two_interval.main([*list_and_monitor, "--participant", "p01", "--windowed", "--simulate", "1"])
assert code == 0
""")
    folder = session_folder(laboratory, "two_interval")
    dropped = [frame for frame in read_csv(folder / "frames.csv") if frame["dropped"] == "1"]
    assert [(frame["trial_number"], frame["phase"]) for frame in dropped] == [("2", "second")]
    assert 0.5 <= float(dropped[0]["interval_s"]) < 0.8
    rows = read_csv(folder / "trials.csv")
    assert [row["dropped_frames"] for row in rows] == ["0", "1", "0"]
    assert rows[1]["frame_max_s"] == dropped[0]["interval_s"]


def test_gamma_ramp_that_cannot_be_set_is_an_error(laboratory):
    """The virtual display has no gamma ramp."""
    trial_list = oddity_list(laboratory.run_folder)
    monitor_file(laboratory.folder / "monitor.yaml", gamma=2.2)
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 1), 2)
    assert "The gamma ramp of the calibration cannot be set" in printed
    # PsychoPy takes this for a virtual machine, on which it sets no ramp and only logs it.
    laboratory.environment["GITHUB_WORKFLOW"] = "tests"
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 1), 2)
    assert "The gamma ramp was set, and the graphics card has another one." in printed
    assert read_csv(session_folder(laboratory) / "trials.csv") == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--simulate", 1, "--screen", 1], "There is no screen 1: the number of screens is 1"),
        (["--simulate", 1, "--eccentricity-deg", 0], "left and right, of 20 × 20 px, overlap."),
        (["--simulate", 1, "--eccentricity-deg", 15], "is not inside the window of 800 × 600 px"),
        (["--screenshot", "none/shot.png"], "Make the folder, and name a file"),
        ([], "the calibration says 60 Hz: durations would be wrong."),
    ],
    ids=["screen", "overlap", "outside", "screenshot", "refresh rate"],
)
def test_wrong_option_or_display_is_refused(laboratory, options, problem):
    command = laboratory.command(oddity_list(laboratory.run_folder), *options)
    assert problem in laboratory.run(command, 2)


def test_screen_of_another_size_is_refused(laboratory):
    command = laboratory.command(oddity_list(laboratory.run_folder), "--simulate", 1)
    printed = laboratory.run([word for word in command if word != "--windowed"], 2)
    assert "The screen has 1024 × 768 px, and the calibration of virtual says 800 × 600 px." in printed


def test_other_visual_angle_is_refused_unless_allowed(laboratory):
    trial_list = two_interval_list(laboratory.run_folder, trials=3)
    write_csv(trial_list, [row | {"interval_s": "0", "isi_s": "0"} for row in read_csv(trial_list)])
    monitor_file(laboratory.folder / "monitor.yaml", ppd=25)
    command = laboratory.command(trial_list, "--simulate", 1)
    assert "Move the observer to 45.8 cm" in laboratory.run(command, 2)
    laboratory.run([*command, "--allow-ppd-mismatch"])
    folder = session_folder(laboratory, "two_interval")
    (sitting,) = json.loads((folder / "session.json").read_text("utf-8"))["sittings"]
    assert (sitting["allow_ppd_mismatch"], sitting["allow_refresh_mismatch"]) == (True, False)
    # Intervals of no time have no frames.
    assert {frame["phase"] for frame in read_csv(folder / "frames.csv")} == {"first", "second", "response"}
    for row in read_csv(folder / "trials.csv"):
        assert float(row["isi_shown_s"]) == 0
        assert float(row["shown_s"]) > 0


@pytest.mark.parametrize("name", ["oddity", "two_interval"])
def test_help_is_of_the_experiment_and_not_of_psychopy(laboratory, name):
    printed = laboratory.run([sys.executable, str(ROOT / "experiments" / name / f"{name}.py"), "--help"])
    assert "--participant" in printed
    assert "--observer-lapse" in printed


def test_missing_display_is_named(laboratory):
    del laboratory.environment["DISPLAY"]
    printed = laboratory.run(laboratory.command(oddity_list(laboratory.run_folder)), 2)
    assert "There is no display" in printed
    assert "xvfb-run" in printed
