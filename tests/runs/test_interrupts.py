"""Ctrl-C, SIGTERM and SIGHUP: real signals to real processes."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import time

import pytest
from commands import until
from file_operations import stop
from run_manifests import write_manifest
from same_runs import comparable

from stimgen.atomic import TEMPORARY
from stimgen.runs.interrupts import interruptible

SLOW = {"seeds": {"count": 4}, "synthesis": {"preset": "multiscale", "smallest_px": 32, "evaluations": [30]}}
STIMULI = 2 * 4 + 1 + 4
TABLES = ("stimuli", "gram_distances", "spectra", "traces", "failures")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal():
    """Whoever started the tests may have them ignored, as a shell does for what is in the background."""
    ways = {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(SIGNALS[1:], signal.SIG_DFL)
    before = {number: signal.signal(number, way) for number, way in ways.items()}
    yield
    for number, way in before.items():
        signal.signal(number, way)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("slow"), **SLOW)


@pytest.fixture(scope="module")
def undisturbed(forks, manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    ended = forks.run("run", manifest, "--out", out)
    assert ended.code == 0, ended.errors
    return comparable(out)


def check_ended(ended, manifest, out):
    """Check the messages and tables of an interrupted run; return the stimuli that it has."""
    assert ended.code == 130
    again = shlex.join(["stimgen", "run", str(manifest), "--out", str(out)])
    sentence = "Interrupted. What was finished is kept, and the same command goes on from there"
    assert ended.errors.endswith(f"{sentence}: {again}\n")
    assert "Traceback" not in ended.errors
    assert not (out / "lock.json").exists()
    assert not list(out.rglob(f"{TEMPORARY}*"))
    there = {path.stem for path in out.glob("records/*.json")}
    assert {path.stem for path in out.glob("stimuli/*.png")} == there
    for table in TABLES[:3]:
        with (out / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            assert {row["stimulus_id"] for row in csv.DictReader(file)} == there
    return there


def check_resumes(forks, manifest, out, undisturbed):
    ended = forks.run("run", manifest, "--out", out)
    assert ended.code == 0, ended.errors
    assert comparable(out) == undisturbed


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_interrupted_run_names_the_command_that_resumes_it(forks, manifest, undisturbed, tmp_path, number):
    out = tmp_path / "my run"
    pid = forks.start("run", manifest, "--out", out)
    until(lambda: "brick-conv1_1-s1 " in forks.errors())
    os.kill(pid, number)
    ended = forks.wait()
    assert 6 <= len(check_ended(ended, manifest, out)) < STIMULI
    assert "Interrupted: the tables are being written." in ended.errors
    check_resumes(forks, manifest, out, undisturbed)


def test_stimulus_that_is_being_written_is_finished(forks, manifest, tmp_path):
    out = tmp_path / "out"
    held = tmp_path / "held"
    before = stop(hold_at=("replace", "stimuli/*.png", 2), held=str(held))
    pid = forks.start("run", manifest, "--out", out, before=before)
    until(held.exists)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.05)
    held.unlink()
    there = check_ended(forks.wait(), manifest, out)
    assert there == {"brick-original", "brick-phase_scrambled-s1"}


def test_signal_before_anything_is_made_ends_the_run_at_once(forks, manifest, tmp_path):
    out = tmp_path / "out"
    held = tmp_path / "held"
    before = stop(hold_at=("mkdir", "above/out", 1), held=str(held))
    pid = forks.start("run", manifest, "--out", out, before=before)
    until(held.exists)
    os.kill(pid, signal.SIGTERM)
    ended = forks.wait()
    assert ended.code == 130
    assert ended.errors.startswith("Interrupted. ")
    assert not out.exists()


def test_run_whose_terminal_is_closed_finishes_its_tables(manifest, tmp_path):
    """As by an ssh connection that breaks: the terminal is gone, and nothing can be said any more."""
    out = tmp_path / "out"
    terminal, other_end = pty.openpty()

    def own_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(other_end, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-m", "stimgen", "run", manifest, "--out", out]
    with subprocess.Popen(
        command, stdin=other_end, stdout=other_end, stderr=other_end, preexec_fn=own_terminal
    ) as running:
        os.close(other_end)
        seen = b""
        while b"brick-conv1_1-s1 " not in seen:
            seen += os.read(terminal, 4096)
        os.close(terminal)
        assert running.wait(60) == 130
    there = {path.stem for path in out.glob("records/*.json")}
    assert {path.stem for path in out.glob("stimuli/*.png")} == there
    with (out / "stimuli.csv").open(encoding="utf-8", newline="") as file:
        assert {row["stimulus_id"] for row in csv.DictReader(file)} == there
    assert not (out / "lock.json").exists()


def test_held_block_is_finished():
    done = []

    def work(interrupts):
        with interrupts.held():
            with interrupts.held():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with interruptible() as interrupts, pytest.raises(KeyboardInterrupt):
        work(interrupts)
    assert done == ["inner", "outer"]


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
