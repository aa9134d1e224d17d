"""Controls are computed in several threads, and what they share is computed once."""

from __future__ import annotations

import shutil
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from run_manifests import TINY, tiny
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
SCALE = 5 + 4
"""Passes for ceiling and floor of a source."""


TEXTURE = {
    "controls": None,
    "layer_sets": {"a": ["conv1_1", "pool1"]},
    "synthesis": TINY["synthesis"] | {"precision": "float32"},
}
"""Without a trial of the precision, which has passes of its own."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, in which no scale is known."""
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    assert calls == {"features": 2 * (1 + SCALE + 8), "__init__": 2, "_mean": 2}
    assert len(threads) > 1
    assert torch.get_num_threads() == 2


def test_one_control_alone_is_the_same_as_among_others(tmp_path, two_threads):
    """Sums depend on the number of threads."""
    one = run(scrambles(tmp_path, seeds=[1], sources=TWO[:1]), out=tmp_path / "one", device="cpu").folder
    run(scrambles(tmp_path, sources=TWO[:1]), out=tmp_path / "all", device="cpu")
    single, among = (
        RunFolder(folder).read_record("brick-phase_scrambled-s1") for folder in (one, tmp_path / "all")
    )
    assert single.made.threads == among.made.threads == 1
    assert single.statistics == among.statistics


def test_a_control_that_is_synthesised_is_measured_before_it_becomes_a_file(tmp_path):
    control = {"name": "random_weights", "layer_set": "a"}
    manifest = tiny(tmp_path, **TEXTURE | {"controls": [control, "original"]}, seeds=[1])
    run(manifest, device="cpu")
    ids = ("brick-random_weights-s1", "brick-a-s1", "brick-original")
    records = [RunFolder(manifest.output).read_record(name) for name in ids]
    stages = [{one.stage for one in record.distances} for record in records]
    assert stages == [{"optimised", "matched", "file"}] * 2 + [{"file"}]


def test_a_texture_is_measured_once_for_each_of_its_images(tmp_path, counted):
    calls, _ = counted
    levels = np.random.default_rng(1).integers(256, size=(32, 32), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "noise.png")
    sources = [{"id": "noise", "image": str(tmp_path / "noise.png")}]

    def passes(name, **matching):
        calls.clear()
        manifest = tiny(tmp_path, **TEXTURE, sources=sources, seeds=[1], matching=matching)
        run(manifest, out=tmp_path / name, device="cpu")
        return calls["features"] - RunFolder(tmp_path / name).read_record("noise-a-s1").synthesis.evaluations

    first, plain = passes("first"), passes("plain")
    assert first - plain == SCALE
    assert passes("matched", full_spectrum="source") - plain == 1
    # The file has the very values of a source of 8 bits.
    assert passes("exact", histogram="source") == plain


def test_a_scale_is_measured_once_in_a_cache_and_changes_no_byte(tmp_path, counted, cache):
    calls, _ = counted
    manifest, passes = tiny(tmp_path, **TEXTURE | {"controls": ["original"]}, seeds=[1]), []

    def made(name):
        calls.clear()
        run(manifest, out=tmp_path / name, device="cpu")
        passes.append(calls["features"])
        return comparable(tmp_path / name)

    first, again = made("first"), made("again")
    (kept,) = (cache / "grams").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = made("damaged")
    assert kept.read_bytes() == content
    shutil.rmtree(cache / "grams")
    (cache / "grams").write_text("not a folder")
    assert first == again == damaged == made("without")
    assert np.subtract(passes, passes[1]).tolist() == [SCALE, 0, SCALE, SCALE]


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
    passes, made = {}, {}
    for turn, seeds in enumerate((1, 1, 2, 4)):  # the first finds the scale
        calls.clear()
        targets.clear()
        run(tiny(tmp_path / str(turn), **TEXTURE, seeds=list(range(seeds))), device="cpu")
        passes[seeds], made[seeds] = calls["features"], len(targets)
    assert made[4] == made[2] == made[1] > 0
    assert passes[4] - passes[2] == 2 * (passes[2] - passes[1])
    # Its evaluations and two measurements: as optimised, and of the file.
    record = RunFolder(tmp_path / "2" / "results" / "tiny").read_record("brick-a-s1")
    assert passes[2] - passes[1] == record.synthesis.evaluations + 2
