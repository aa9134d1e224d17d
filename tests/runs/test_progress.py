"""What a run shows while it works, and that showing it changes nothing."""

from __future__ import annotations

import contextlib
import copy
import io
import re
import unicodedata

import pytest
import torch
from rich.console import Console
from run_manifests import tiny
from same_runs import comparable

from stimgen.manifest.plan import plan
from stimgen.report import preview
from stimgen.runs import progress as progress_module
from stimgen.runs.batches import plan_batches
from stimgen.runs.progress import Progress
from stimgen.runs.run_state import BatchState, RunState
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.texture.problem import Evaluation

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STATE = RunState(
    share=0.43,
    finished=12,
    failed=1,
    stimuli=30,
    elapsed_s=723,
    left_s=958,
    per_minute=0.913,
    batch=BatchState("brick-pool2-s1 and 3 more", 0.37, 3, 5, 64, 45, 100, 211.7, 0.0342),
)


class Clock:
    """Seconds that go on when they are asked for."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def drawn(state, width):
    console = Console(force_terminal=True, file=io.StringIO(), width=width, legacy_windows=False)
    shown = Progress(console=console, clock=lambda: state.elapsed_s)
    shown.state = state
    console.print(shown.get_renderable())
    return [line.rstrip() for line in ESCAPE.sub("", console.file.getvalue()).splitlines()]


def test_bars_show_all_numbers():
    run_line, batch_line, descent_line = drawn(STATE, 110)
    assert run_line.endswith("43 % 12/30 stimuli, 1 failed, 0:12:03 gone, 16 min left, 0.91 stimuli/min")
    assert batch_line.endswith(" 37 % brick-pool2-s1 and 3 more")
    assert descent_line == "  stage 3/5 at 64 px, evaluation 45/100, loss 212, relative distance 0.0342"


@pytest.mark.parametrize("width", [1, 80])
def test_no_line_is_wider_than_the_terminal(width):
    lines = drawn(STATE, width)
    assert 1 <= len(lines) <= 3
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert "12/30 stimuli, 1 failed, 0:12:03 gone" in lines[0]
        assert "relative distance 0.0342" in lines[2]


def test_bars_show_stages_and_losses_and_end_at_100_percent(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_module, "LOOK_EVERY_S", 0.0)
    seen = []

    class Noting(Progress):
        def _look(self):
            super()._look()
            seen.append(copy.deepcopy(self.state))

    console = Console(force_terminal=True, file=io.StringIO(), width=100)
    result = run(tiny(tmp_path), progress=Noting(console=console))

    text = ESCAPE.sub("", console.file.getvalue())
    assert "100 % 7/7 stimuli" in text
    assert "brick-pool1-s1  relative Gram distance up to" in text
    shares = [state.share for state in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    # The last loss that was shown of each stage is the one in the record: the lowest that was found.
    record = RunFolder(result.folder).read_record("brick-pool1-s2")
    shown = {
        s.batch.stage: s.batch
        for s in seen
        if s.batch and s.batch.name == "brick-pool1-s2" and s.batch.stages
    }
    assert [one.number for one in shown.values()] == [len(t.losses) for t in record.synthesis.traces]
    assert [one.size_px for one in shown.values()] == [t.size_px for t in record.synthesis.traces]
    for one, trace in zip(shown.values(), record.synthesis.traces, strict=True):
        assert one.loss == pytest.approx(trace.losses[-1], rel=1e-6)
        assert 0 < one.distance < 10


@pytest.mark.parametrize("preset", [{"preset": "gatys2015", "iterations": 2}, None])
def test_lines_say_which_textures_were_matched_after_the_synthesis(tmp_path, preset):
    stream = io.StringIO()
    changes = {"controls": ["original"], "matching": {"histogram": "source"}}
    manifest = tiny(tmp_path, **changes | ({"synthesis": preset} if preset else {}))
    with contextlib.redirect_stderr(stream):
        result = run(manifest, progress=Progress(clock=Clock(2.0)))
    textures = result.made - 1
    assert stream.getvalue().count("matched after the synthesis") == (textures if preset else 0)


def test_lines_have_no_control_characters(tmp_path, control, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")

    def fails(source, rng):
        raise ValueError("a name with \x1b[31m and \x07 in it")

    control("fails", fails)
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        run(tiny(tmp_path, controls=["original", "fails"]), progress=Progress(clock=Clock(2.0)))
    text = stream.getvalue()
    assert not [c for c in text if unicodedata.category(c) == "Cc" and c != "\n"]
    assert r"FAILED: ValueError: a name with \x1b[31m and \x07 in it" in text
    lines = [line for line in text.splitlines() if " done, " in line]
    assert 2 <= len(lines) <= 20
    for line in lines:
        assert re.fullmatch(
            r"\d+ % done, \d/6 stimuli, 1 failed, (time left unknown|.+ left)(, [\d.]+ stimuli/min)?", line
        )
    shares = [int(line.split()[0]) for line in lines]
    assert shares == sorted(shares)
    assert lines[-1].count(" min left") + lines[-1].count(" s left") == 1


def test_quiet_run_writes_nothing(tmp_path, capfd):
    run(tiny(tmp_path), progress=Progress(quiet=True, clock=Clock(61)))
    assert capfd.readouterr() == ("", "")


READS = ("item", "tolist", "cpu", "numpy", "to", "__float__", "__bool__", "__array__", "__format__")


class Device(torch.Tensor):
    """A tensor that counts how often it is read, as if it were on a device."""

    reads = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in READS:
            Device.reads += 1
        return super().__torch_function__(function, types, args, kwargs or {})


@pytest.mark.parametrize(("terminal", "most"), [(True, 21), (False, 0)])
def test_losses_are_read_at_most_twice_a_second(tmp_path, monkeypatch, terminal, most):
    monkeypatch.setattr(Device, "reads", 0)
    manifest = tiny(tmp_path, controls=[])
    (batch,) = plan_batches(manifest, plan(manifest), batch_size=4)
    console = Console(force_terminal=terminal, file=io.StringIO(), width=100)
    clock = Clock(0.01)
    shown = Progress(console=console, clock=clock)
    steps = {stimulus.stimulus_id: "synthesise" for stimulus in batch.stimuli}
    monkeypatch.setattr(shown, "_live", contextlib.nullcontext)  # its thread would ask the clock as well
    with (
        shown.run(manifest, [batch], steps, shared=True, reached={}),
        shown.batch(batch),
    ):
        began = clock.now
        for number in range(1, 1001):
            losses = torch.rand(4).as_subclass(Device)
            zeros = torch.ones(4).as_subclass(Device)
            shown.evaluation(Evaluation(1, 1, 32, ("conv1_1",), number, 1000, losses, zeros))
        seconds = clock.now - began
    assert Device.reads <= most * seconds / 10
    assert (Device.reads > 0) is terminal


def test_bytes_are_the_same_whatever_is_shown(tmp_path, finished, monkeypatch):
    monkeypatch.setattr(progress_module, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(preview, "EVERY_S", 0)
    monkeypatch.setattr(preview, "open_in_browser", lambda page, say: None)
    manifest = tiny(tmp_path)
    shown = Progress(console=Console(force_terminal=True, file=io.StringIO(), width=100))
    shown.watcher = preview.Preview(RunFolder(manifest.output), "tiny", shown.note)
    result = run(manifest, progress=shown)
    there = comparable(result.folder)
    assert there.pop("preview.html").startswith(b"<!doctype html>")
    expected = comparable(finished.path)
    # Where the manifest lies is in its resolved form, and in its hash.
    for name in ("manifest.resolved.yaml", "run.json"):
        assert there.pop(name)
        assert expected.pop(name)
    assert there == expected
