"""Controls are computed in several threads, and what they share is computed once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import torch
from run_manifests import tiny
from same_runs import comparable

from stimgen.controls import CONTROLS
from stimgen.matching import apply
from stimgen.measure import copying
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.texture.statistics.gram import Gram

SEEDS = list(range(1, 9))
TWO = [{"id": name, "image": f"skimage:{name}"} for name in ("brick", "gravel")]
PASSES_OF_SOURCE = 1 + 5 + 4
"""Target, ceiling and floor."""


@pytest.fixture
def counted(monkeypatch):
    """Count calls, which go through, by name of a function or method; and the threads that call."""
    calls, threads = Counter(), set()

    def count(owner, name):
        function = getattr(owner, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            threads.add(threading.get_ident())
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(FeatureExtractor, "features")
    count(copying.SourceWindows, "__init__")
    count(apply.Reference, "_mean")
    return calls, threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def scrambles(folder, **changes):
    given = {"layer_sets": None, "controls": ["phase_scrambled"], "seeds": SEEDS, "sources": TWO}
    return tiny(folder, **(given | changes))


def test_one_pass_per_control_and_everything_else_once_per_source(tmp_path, counted, two_threads):
    calls, threads = counted
    done = run(scrambles(tmp_path, matching={"histogram": "source"}), device="cpu")
    assert (done.made, done.failures) == (16, ())
    assert calls == {"features": 2 * (PASSES_OF_SOURCE + 8), "__init__": 2, "_mean": 2}
    assert len(threads) > 1
    assert torch.get_num_threads() == 2


def test_a_texture_that_nothing_changes_before_it_is_a_file_is_measured_twice(tmp_path, counted):
    calls, _ = counted
    common = {"controls": None, "layer_sets": {"a": ["conv1_1"]}, "seeds": [1]}
    run(tiny(tmp_path / "plain", **common), device="cpu")
    plain = calls["features"]
    run(tiny(tmp_path / "matched", **common, matching={"full_spectrum": "source"}), device="cpu")
    assert calls["features"] - plain > plain


def test_as_many_threads_as_there_are_change_no_byte(tmp_path, two_threads):
    manifest = scrambles(tmp_path, matching={"histogram": "set"})
    run(manifest, out=tmp_path / "two", device="cpu")
    torch.set_num_threads(1)
    run(manifest, out=tmp_path / "one", device="cpu")
    assert comparable(tmp_path / "two") == comparable(tmp_path / "one")


def test_a_control_that_fails_in_a_thread_stops_no_other(tmp_path, two_threads, monkeypatch):
    function = CONTROLS["phase_scrambled"].function

    def fails_at_times(source, rng, *, periodic_component=False):
        if rng.random() < 0.5:
            raise ValueError("this one")
        return function(source, rng, periodic_component=periodic_component)

    monkeypatch.setitem(vars(CONTROLS["phase_scrambled"]), "function", fails_at_times)
    done = run(scrambles(tmp_path), device="cpu")
    assert done.failures
    assert done.made + len(done.failures) == 16
    assert {failure.error.partition(" (")[0] for failure in done.failures} == {"ValueError: this one"}


def test_textures_of_one_source_share_the_analysis_of_their_goal(tmp_path, counted, monkeypatch):
    calls, _ = counted
    targets = []
    whole = Gram.flat_target
    monkeypatch.setattr(Gram, "flat_target", lambda *args: targets.append(args) or whole(*args))
    common = {"controls": None, "layer_sets": {"a": ["conv1_1", "pool1"]}}
    passes, made = {}, {}
    for seeds in (1, 2, 4):
        calls.clear()
        targets.clear()
        run(tiny(tmp_path / str(seeds), **common, seeds=list(range(seeds))), device="cpu")
        passes[seeds], made[seeds] = calls["features"], len(targets)
    assert made[4] == made[2] == made[1] > 0
    assert passes[4] - passes[2] == 2 * (passes[2] - passes[1])
    # Its evaluations and three measurements: as optimised, and of the file twice.
    record = RunFolder(tmp_path / "2" / "results" / "tiny").read_record("brick-a-s1")
    assert passes[2] - passes[1] == record.synthesis.evaluations + 3
