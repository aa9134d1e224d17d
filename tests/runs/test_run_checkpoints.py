"""Runs that are interrupted within a synthesis, and what they leave for the next run."""

from __future__ import annotations

import json

import pytest
import torch
from run_manifests import tiny
from same_runs import comparable

from stimgen.runs import checkpoints, environment, executor
from stimgen.runs.batches import evaluation_work
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.texture.synthesis import synthesise

LONG = {
    "layer_sets": {"pool1": ["conv1_1", "pool1"]},
    "synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [5, 5], "plain_evaluations": 4},
    "controls": ["original"],
}
"""Two textures of two stages, at 16 and 32 px, with a last one that continues the second, and a control."""
EVALUATIONS = 14
TEXTURES = ("brick-pool1-s1", "brick-pool1-s2")


class Counting(Progress):
    """Counts evaluations and their work, and interrupts instead of the one with the number `at`."""

    def __init__(self, at=None):
        super().__init__(quiet=True)
        self.at, self.evaluations, self.work = at, 0, 0.0

    def evaluation(self, evaluation):
        if self.evaluations == self.at:
            raise KeyboardInterrupt
        self.evaluations += 1
        self.work += len(evaluation.losses) * evaluation_work("vgg16", evaluation.layers, evaluation.size_px)
        super().evaluation(evaluation)


@pytest.fixture(autouse=True)
def every_stage(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What an undisturbed run leaves, without any checkpoint on its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "EVERY_S", float("inf"))
        counting = Counting()
        folder = run(tiny(tmp_path_factory.mktemp("whole"), **LONG), progress=counting).folder
        assert counting.evaluations == 2 * EVALUATIONS
        return comparable(folder)


def interrupted(tmp_path, at, **options):
    manifest = tiny(tmp_path, **LONG)
    with pytest.raises(KeyboardInterrupt):
        run(manifest, progress=Counting(at), **options)
    return manifest, RunFolder(manifest.output)


def files(folder):
    return list(folder.checkpoints.iterdir()) if folder.checkpoints.exists() else []


def resumed(manifest, **options):
    counting = Counting()
    result = run(manifest, progress=counting, **options)
    assert not result.failures
    assert not RunFolder(result.folder).checkpoints.exists()
    return counting.evaluations


@pytest.mark.parametrize(("at", "left"), [(3, 14), (11, 9), (EVALUATIONS + 6, 9)], ids="at {}".format)
def test_interrupted_synthesis_resumes_at_its_last_stage(tmp_path, expected, at, left):
    manifest, folder = interrupted(tmp_path, at)
    assert len(files(folder)) == (left < EVALUATIONS)
    done = EVALUATIONS if at > EVALUATIONS else 0
    counting = Counting()
    run(manifest, progress=counting)
    assert counting.evaluations == 2 * EVALUATIONS - done - (EVALUATIONS - left)
    # Progress counts only what is left.
    assert sum(counting._work.values()) == pytest.approx(counting.work)
    assert counting.state.share == 1
    assert not folder.checkpoints.exists()
    assert comparable(folder.path) == expected


def test_interrupted_batch_resumes(tmp_path, expected):
    manifest, folder = interrupted(tmp_path, EVALUATIONS + 6, batch_size=2)
    assert len(files(folder)) == 2  # on a CPU one for each texture, of which none is done
    assert resumed(manifest, batch_size=2) == 9
    found = comparable(folder.path)
    assert json.loads(found.pop("run.json"))["batch_size"] == 2
    assert found == {name: content for name, content in expected.items() if name != "run.json"}


def test_recorded_time_includes_that_before_an_interruption(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "time", Later())
        manifest, folder = interrupted(tmp_path, 11)
    assert resumed(manifest) == 2 * EVALUATIONS - 5
    first, second = (folder.read_record(stimulus_id).made.seconds for stimulus_id in TEXTURES)
    assert first > 1000 > second


class Later:
    """A clock that is 1000 s later whenever it is read."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1000
        return self.now


def one_bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)


def head_altered(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'restarts\\":0', b'restarts\\":1', 1))


@pytest.mark.parametrize("damage", [one_bit_flipped, head_altered])
def test_damaged_checkpoint_is_not_used(tmp_path, expected, damage):
    manifest, folder = interrupted(tmp_path, 6)
    (file,) = files(folder)
    before = file.read_bytes()
    damage(file)
    assert file.read_bytes() != before
    assert resumed(manifest) == 2 * EVALUATIONS
    assert comparable(folder.path) == expected


def test_checkpoint_of_other_settings_is_removed(tmp_path):
    _, folder = interrupted(tmp_path, 6)
    (before,) = files(folder)
    changed = tiny(tmp_path, **LONG | {"synthesis": LONG["synthesis"] | {"plain_evaluations": 2}})
    with pytest.raises(KeyboardInterrupt):
        run(changed, progress=Counting(0))
    assert not before.exists()
    assert not folder.checkpoints.exists()


def test_checkpoint_of_other_device_or_threads_is_not_used(tmp_path, expected, monkeypatch):
    other = environment.rounding(torch.device("cpu")) | {"threads": "other"}
    with monkeypatch.context() as patch:
        patch.setattr(executor, "rounding", lambda device: other)
        manifest, folder = interrupted(tmp_path, 6)
    assert len(files(folder)) == 1
    assert resumed(manifest) == 2 * EVALUATIONS
    assert comparable(folder.path) == expected


def test_failed_texture_leaves_no_checkpoint(tmp_path, expected, monkeypatch):
    failed = []

    def fails_at_its_end(*arguments):
        synthesised = synthesise(*arguments)
        if not failed:
            failed.append(arguments)
            raise RuntimeError("a fault")
        return synthesised

    monkeypatch.setattr("stimgen.runs.make.synthesise", fails_at_its_end)
    manifest = tiny(tmp_path, **LONG)
    result = run(manifest)
    assert [failure.stimulus_id for failure in result.failures] == [TEXTURES[0]]
    folder = RunFolder(result.folder)
    assert not folder.checkpoints.exists()
    assert resumed(manifest) == EVALUATIONS
    assert comparable(folder.path) == expected
