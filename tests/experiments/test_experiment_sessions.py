"""Whole sessions in processes of their own, on a real window: simulated, by real keys, killed, stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import time

import pytest
from example_run import (
    CORRECT_KEY,
    DISTANCES,
    monitor_file,
    oddity_list,
    read_csv,
    two_interval_list,
    write_csv,
)


def session_folder(laboratory, design="oddity"):
    return laboratory.data / design / "p01_1"


def wait_for_trials(file, number, process):
    """Wait until so many trials are in the data file."""
    for _ in range(6000):
        if file.exists() and file.read_bytes().count(b"\n") > number:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{number} trials did not come")


def test_a_simulated_oddity_session_is_complete(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 3))
    assert "12 of 12 trials are in" in printed
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
        of_trial = [frame for frame in frames if frame["trial"] == row["trial"]]
        assert len(of_trial) == int(row["frames"]) - 1
        assert sum(int(frame["dropped"]) for frame in of_trial) == int(row["dropped_frames"])
        assert {frame["phase"] for frame in of_trial} >= {"interval", "presentation"}
        shown = sum(float(frame["interval_s"]) for frame in of_trial if frame["phase"] == "presentation")
        assert shown == pytest.approx(float(row["shown_s"]), abs=1e-4)
    handler = read_csv(folder / "psychopy.csv")
    assert [{name: row[name] for name in rows[0] if row[name]} for row in rows] == [
        {name: row[name] for name in rows[0] if row.get(name)} for row in handler
    ]
    metadata = json.loads((folder / "session.json").read_text("utf-8"))
    assert metadata["settings"]["monitor"]["ppd"] == pytest.approx(20, abs=0.01)
    (sitting,) = metadata["sittings"]
    assert (sitting["first_trial"], sitting["last_trial"], sitting["ended_by"]) == (1, 12, "last trial")
    assert sitting["versions"]["psychopy"]
    dictionary = json.loads((folder / "trials.json").read_text("utf-8"))
    assert set(dictionary) == set(rows[0]) - set(listed[0])


@pytest.mark.slow
def test_a_complete_session_is_not_run_again(laboratory):
    command = laboratory.command(two_interval_list(laboratory.run_folder), "--simulate", 3)
    laboratory.run(command)
    before = (session_folder(laboratory, "two_interval") / "trials.csv").read_bytes()
    assert "session 1 of p01 is complete.\nStart the next one: --session N." in laboratory.run(command, 2)
    assert (session_folder(laboratory, "two_interval") / "trials.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("task", ["which_is_original", "same_different"])
def test_a_simulated_session_with_two_intervals_is_complete(laboratory, task):
    trial_list = two_interval_list(laboratory.run_folder, task)
    perfect = ["--observer-column", "gram_relative_pool4", "--observer-threshold", -10]
    laboratory.run(laboratory.command(trial_list, "--simulate", 3, *perfect))
    rows = read_csv(session_folder(laboratory, "two_interval") / "trials.csv")
    assert [row["response"] for row in rows] == [trial["correct_key"] for trial in read_csv(trial_list)]
    assert all(float(row[name]) > 0 for row in rows for name in ("shown_s", "isi_shown_s", "shown_second_s"))


@pytest.mark.slow
def test_the_simulated_observer_sees_what_the_column_says(laboratory):
    trial_list = oddity_list(laboratory.run_folder, 300, 100)
    sees = ["--observer-column", "gram_relative_held_out", "--observer-threshold", 0.5, "--observer-slope", 8]
    laboratory.run(laboratory.command(trial_list, "--simulate", 1, *sees))
    rows = read_csv(session_folder(laboratory) / "trials.csv")
    for condition, distance in DISTANCES.items():
        correct = [int(row["correct"]) for row in rows if row["condition"] == condition]
        expected = 1 / 3 + 2 / 3 / (1 + math.exp(-8 * (distance - 0.5)))
        # Four standard errors of 100 trials.
        assert abs(sum(correct) / len(correct) - expected) < 4 * math.sqrt(expected * (1 - expected) / 100)


@pytest.mark.slow
def test_a_killed_session_loses_no_completed_trial_and_goes_on(laboratory):
    trial_list = oddity_list(laboratory.run_folder, 200, 50)
    command = laboratory.command(trial_list, "--simulate", 1)
    file = session_folder(laboratory) / "trials.csv"
    with laboratory.start(command) as process:
        wait_for_trials(file, 60, process)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = file.read_bytes()
    completed = before.count(b"\n") - 1
    assert 60 <= completed < 200
    assert "200 of 200 trials" in laboratory.run([*command, "--resume"])
    after = file.read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1])
    rows = read_csv(file)
    assert [row["trial"] for row in rows] == [str(number) for number in range(1, 201)]
    sittings = json.loads(file.with_name("session.json").read_text("utf-8"))["sittings"]
    assert [sitting["first_trial"] for sitting in sittings] == [1, completed + 1]
    assert "ended_by" not in sittings[0]
    assert len(read_csv(file.with_name("psychopy.csv"))) == 200
    # The simulated observer's answers are those of a session without interruption.
    laboratory.run([*command, "--session", "2"])
    uninterrupted = read_csv(laboratory.data / "oddity" / "p01_2" / "trials.csv")
    assert [row["response"] for row in rows] == [row["response"] for row in uninterrupted]


@pytest.mark.slow
def test_a_session_does_not_go_on_with_another_list_or_other_settings(laboratory):
    trial_list = oddity_list(laboratory.run_folder, 200, 50)
    command = laboratory.command(trial_list, "--simulate", 1)
    with laboratory.start(command) as process:
        wait_for_trials(session_folder(laboratory) / "trials.csv", 5, process)
        process.kill()
    refused = laboratory.run([*command, "--ramp-px", "9", "--eccentricity-deg", "4"], 2)
    assert "ramp_px was 6.0 and is 9.0; eccentricity_deg was 3.0 and is 4.0." in refused
    human = [word for word in command if word not in ("--simulate", "1")]
    assert "cannot share a session" in laboratory.run(human, 2)
    oddity_list(laboratory.run_folder, 199, 50)
    assert "the trial list has changed." in laboratory.run(command, 2)
    assert "no session to resume" in laboratory.run([*command, "--session", "2", "--resume"], 2)


@pytest.fixture
def press(virtual_display):
    """Press and release a key of the virtual display's keyboard, as a finger does."""
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


@pytest.mark.slow
@pytest.mark.parametrize("held_s", [0.0, 0.05], ids=["tap", "held"])
def test_real_keys_answer_and_escape_stops_and_keeps_all_trials(laboratory, press, held_s):
    """Keys through the X server. Frames of a virtual display wait for nothing: 1000 per second, about."""
    trial_list = oddity_list(laboratory.run_folder, 8, 2)
    rows = read_csv(trial_list)
    for row in rows:
        row["response_s"] = "60"
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
        # A break comes before the third trial; keys that are not asked for do nothing.
        press_until(press, ["space", "Down"], lambda: number_of_trials() == 3, process, held_s)
        press_until(press, ["Escape"], lambda: process.poll() is not None, process, held_s)
        output, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "3 of 8 trials are in" in output
    assert "The same command goes on" in output
    answered = read_csv(file)
    assert [row["response"] for row in answered] == ["", "left", "down"]
    assert [row["correct"] for row in answered[:1]] == [""]
    assert all(0 < float(row["rt_s"]) < 60 for row in answered[1:])
    for row in answered[1:]:
        assert row["correct"] == str(int(row["response"] == row["correct_key"]))
    (sitting,) = json.loads(file.with_name("session.json").read_text("utf-8"))["sittings"]
    assert (sitting["ended_by"], sitting["last_trial"]) == ("escape", 3)


@pytest.mark.slow
def test_dropped_frames_are_counted_and_named(laboratory):
    """One drawing in the second trial takes half a second; frames are dropped after 0.15 s at 10 Hz."""
    two_interval_list(laboratory.run_folder, trials=3)
    monitor_file(laboratory.folder / "monitor.yaml", refresh_hz=10, linear=True)
    laboratory.python("""
import time
from psychopy import visual
from experiments.shared import procedure
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
    assert [(frame["trial"], frame["phase"]) for frame in dropped] == [("2", "second")]
    assert 0.5 <= float(dropped[0]["interval_s"]) < 0.8
    rows = read_csv(folder / "trials.csv")
    assert [row["dropped_frames"] for row in rows] == ["0", "1", "0"]
    assert rows[1]["frame_max_s"] == dropped[0]["interval_s"]


@pytest.mark.slow
def test_a_gamma_ramp_that_cannot_be_set_is_an_error(laboratory):
    """The virtual display has no gamma ramp."""
    trial_list = oddity_list(laboratory.run_folder)
    monitor_file(laboratory.folder / "monitor.yaml", gamma=2.2)
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 1), 2)
    assert "The gamma ramp of the calibration cannot be set" in printed
    # On what PsychoPy takes for a virtual machine it sets none and says so in its log alone.
    laboratory.environment["GITHUB_WORKFLOW"] = "tests"
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 1), 2)
    assert "The gamma ramp was set, and the graphics card has another one." in printed
    assert read_csv(session_folder(laboratory) / "trials.csv") == []


@pytest.mark.slow
def test_a_screen_that_is_not_the_calibrated_one_is_an_error(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    fullscreen = [w for w in laboratory.command(trial_list, "--simulate", 1) if w != "--windowed"]
    printed = laboratory.run(fullscreen, 2)
    assert "The screen has 1024 × 768 px, and the calibration of virtual says 800 × 600 px." in printed
    monitor_file(laboratory.folder / "monitor.yaml", (1024, 768))
    laboratory.run(fullscreen)


@pytest.mark.slow
def test_stimuli_for_another_visual_angle_are_refused_unless_allowed(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    monitor_file(laboratory.folder / "monitor.yaml", ppd=25)
    command = laboratory.command(trial_list, "--simulate", 1)
    printed = laboratory.run(command, 2)
    assert "made for 20 px/°, and the monitor virtual has 25.0 px/° at 57.29 cm." in printed
    assert "Move the observer to 45.8 cm" in printed
    laboratory.run([*command, "--allow-ppd-mismatch"])


@pytest.mark.slow
def test_patches_outside_the_screen_are_refused(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    printed = laboratory.run(laboratory.command(trial_list, "--simulate", 1, "--eccentricity-deg", 15), 2)
    assert "is not inside the window of 800 × 600 px" in printed


@pytest.mark.slow
def test_patches_that_overlap_are_refused(laboratory):
    trial_list = oddity_list(laboratory.run_folder)
    near = laboratory.command(trial_list, "--simulate", 1, "--eccentricity-deg")
    assert "The patches left and right, of 20 × 20 px, overlap." in laboratory.run([*near, "0"], 2)
    for wrong in ("-1", "nan", "inf", "far"):
        assert "--eccentricity-deg" in laboratory.run([*near, wrong], 2)
    assert not laboratory.data.exists()


@pytest.mark.slow
def test_a_screen_that_is_not_there_is_refused(laboratory):
    command = laboratory.command(oddity_list(laboratory.run_folder), "--simulate", 1, "--screen")
    printed = laboratory.run([*command, "1"], 2)
    assert "There is no screen 1: the number of screens is 1, and the first is 0." in printed
    assert "is not a whole number from 0 on" in laboratory.run([*command, "-1"], 2)
    laboratory.run([*command, "0"])


@pytest.mark.slow
def test_intervals_of_no_time_have_no_frames(laboratory):
    trial_list = two_interval_list(laboratory.run_folder, trials=3)
    write_csv(trial_list, [row | {"interval_s": "0", "isi_s": "0"} for row in read_csv(trial_list)])
    laboratory.run(laboratory.command(trial_list, "--simulate", 1))
    folder = session_folder(laboratory, "two_interval")
    assert {frame["phase"] for frame in read_csv(folder / "frames.csv")} == {"first", "second", "response"}
    for row in read_csv(folder / "trials.csv"):
        assert float(row["isi_shown_s"]) == 0
        assert float(row["shown_s"]) > 0
    picture = laboratory.folder / "shots.png"
    laboratory.run(laboratory.command(trial_list, "--screenshot", picture))
    assert picture.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none/shot.png", "shot", "shot.txt"])
def test_a_screenshot_that_cannot_be_saved_is_refused(laboratory, name):
    trial_list = oddity_list(laboratory.run_folder)
    assert "Make the folder, and name a file" in laboratory.run(
        laboratory.command(trial_list, "--screenshot", name), 2
    )


@pytest.mark.slow
def test_without_a_display_it_says_so(laboratory):
    del laboratory.environment["DISPLAY"]
    printed = laboratory.run(laboratory.command(oddity_list(laboratory.run_folder)), 2)
    assert "There is no display" in printed
    assert "xvfb-run" in printed


@pytest.mark.slow
def test_what_was_allowed_is_written_down(laboratory):
    command = laboratory.command(two_interval_list(laboratory.run_folder, trials=2), "--simulate", 1)
    laboratory.run([*command, "--allow-ppd-mismatch"])
    metadata = json.loads((session_folder(laboratory, "two_interval") / "session.json").read_text("utf-8"))
    (sitting,) = metadata["sittings"]
    assert (sitting["allow_ppd_mismatch"], sitting["allow_refresh_mismatch"]) == (True, False)
    for wrong in ("0", "1.5", "a"):
        assert "is not a whole number from 1 on" in laboratory.run([*command, "--session", wrong], 2)


@pytest.mark.slow
def test_another_refresh_rate_is_refused_unless_allowed(laboratory):
    """A virtual display shows frames as fast as they are drawn."""
    trial_list = oddity_list(laboratory.run_folder)
    printed = laboratory.run(laboratory.command(trial_list), 2)
    assert "the calibration says 60 Hz: durations would be wrong." in printed
