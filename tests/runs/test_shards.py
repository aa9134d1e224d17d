"""Shards of a run: made side by side, joined to what one process would have made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from run_manifests import tiny
from same_runs import comparable

from stimgen.errors import InputError
from stimgen.images.read import skimage_path
from stimgen.manifest.plan import plan
from stimgen.runs.job import Job
from stimgen.runs.lock import LockError
from stimgen.runs.results import Shard, is_unmerged, parse_shard, read_note, shard_locked, summary_of_shards
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.verify.rebuild import rebuild_tables
from stimgen.verify.run import verify_run

TRIALS = [{"id": "which", "design": "two_interval", "min_source_gap": 0}]
CHANGES = {
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "gravel", "image": "skimage:gravel"}],
    "trials": TRIALS,
}


def of_whole(folder: Path) -> dict[str, bytes | str]:
    """Return what a run that shards made has in common with a whole one: all but notes of shards."""
    return {name: content for name, content in comparable(folder).items() if not name.startswith("shards/")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return run(tiny(tmp_path_factory.mktemp("whole"), **CHANGES)).folder


@given(batches=st.lists(st.integers(), unique=True, max_size=40), count=st.integers(1, 50))
def test_shards_are_a_partition(batches, count):
    parts = [Shard(number, count).of(batches) for number in range(1, count + 1)]
    assert sorted(one for part in parts for one in part) == sorted(batches)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["x", "0/3", "4/3", "1/0", "1/99999"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match="--shard"):
        parse_shard(text)


def test_shards_and_tables_make_what_one_process_makes(tmp_path, whole):
    manifest = tiny(tmp_path, **CHANGES)
    results = [run(manifest, shard=Shard(number, 3)) for number in (2, 3, 1)]
    folder = results[0].folder
    assert sum(result.made for result in results) == 14
    assert all(result.made > 0 and result.failures == () for result in results)
    assert not (folder / "stimuli.csv").exists()
    assert is_unmerged(RunFolder(folder))
    unmerged = verify_run(folder)
    assert {one.severity for one in unmerged.findings} <= {"incomplete", "unchecked"}
    assert any("stimgen tables" in one.problem for one in unmerged.findings)
    rebuilt = rebuild_tables(folder)
    assert (rebuilt.stimuli, rebuilt.planned, len(rebuilt.trial_lists)) == (14, 14, 1)
    assert verify_run(folder).findings == ()
    assert of_whole(folder) == of_whole(whole)
    rebuild_tables(folder)
    assert of_whole(folder) == of_whole(whole)
    # The whole run finds nothing to do, and clears the notes away.
    assert run(manifest).made == 0
    assert comparable(folder) == comparable(whole)


def test_a_shard_again_makes_what_is_missing_and_keeps_its_note(tmp_path):
    manifest, shard = tiny(tmp_path), Shard(1, 2)
    first = run(manifest, shard=shard)
    before = shard.note(RunFolder(first.folder)).read_bytes()
    assert run(manifest, shard=shard).made == 0
    assert shard.note(RunFolder(first.folder)).read_bytes() == before
    next(RunFolder(first.folder).stimuli.glob("*.png")).unlink()
    again = run(manifest, shard=shard)
    assert (again.made, again.matched, again.kept) == (0, 1, first.made - 1)


def test_failures_of_shards_are_in_the_table_until_they_are_made(tmp_path, control, whole):
    def fails(source, rng):
        raise ValueError("no")

    control("failing", fails)
    manifest = tiny(tmp_path, controls=["failing"])
    results = [run(manifest, shard=Shard(number, 2)) for number in (1, 2)]
    assert sum(len(result.failures) for result in results) == 1
    folder = results[0].folder
    assert rebuild_tables(folder).stimuli == 4
    assert "brick-failing" in (folder / "failures.csv").read_text()
    assert json.loads((folder / "run.json").read_text())["failed"] == 1
    control("failing", lambda source, rng: source)
    for number in (1, 2):
        run(manifest, shard=Shard(number, 2))
    assert rebuild_tables(folder).stimuli == 5
    assert "brick-failing" not in (folder / "failures.csv").read_text()
    assert verify_run(folder).findings == ()


def test_what_excludes_each_other(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    with shard_locked(folder, Shard(1, 2), "a"):
        for other in (Shard(1, 2), Shard(1, 3), Shard(2, 3)):
            with pytest.raises(LockError), shard_locked(folder, other, "a"):
                pass
        with pytest.raises(LockError), folder.locked():
            pass
        with shard_locked(folder, Shard(2, 2), "a"):
            pass
        with pytest.raises(LockError, match="1-of-2"), shard_locked(folder, Shard(2, 2), "b"):
            pass
    with folder.locked(), pytest.raises(LockError), shard_locked(folder, Shard(1, 2), "a"):
        pass
    with folder.locked():
        pass


def test_shards_of_another_manifest_or_division_do_not_work_beside_each_other(tmp_path, control):
    tried = []

    def beside(source, rng):
        """Try to make another shard while this one works."""
        if not tried:
            tried.append(before := resolved.read_bytes())
            with pytest.raises(LockError, match="another manifest"):
                run(other, shard=Shard(2, 2))
            with pytest.raises(LockError, match="other options"):
                run(manifest, shard=Shard(2, 2), batch_size=3)
            assert resolved.read_bytes() == before
            run(manifest, shard=Shard(2, 2))
        return source

    control("beside", beside)
    manifest, other = (tiny(tmp_path, controls=["beside"], seeds=seeds) for seeds in ([1, 2], [5]))
    resolved = manifest.output / "manifest.resolved.yaml"
    run(manifest, shard=Shard(1, 2))
    assert rebuild_tables(manifest.output).stimuli == 5
    # One after the other they may, also all of a new manifest at once.
    for number in (1, 2):
        run(other, shard=Shard(number, 2))


def test_a_gpu_needs_a_batch_size(tmp_path):
    gpu = SimpleNamespace(device="cuda:0", shared=True)
    with pytest.raises(InputError, match="--batch-size"):
        run(tiny(tmp_path), shard=Shard(1, 2), executor=gpu)


def test_an_interrupted_shard_keeps_what_it_made(tmp_path, monkeypatch):
    make, calls = Job.make, []

    def interrupted(self, batch, computed=None):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return make(self, batch, computed)

    manifest, shard = tiny(tmp_path), Shard(1, 2)
    monkeypatch.setattr(Job, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(manifest, shard=shard)
    monkeypatch.undo()
    assert wrong(manifest.output) == []
    rebuilt = rebuild_tables(manifest.output)
    assert (rebuilt.stimuli, rebuilt.missing_shards) == (2, ("1/2", "2/2"))
    assert wrong(manifest.output) == []
    assert run(manifest, shard=shard).kept == 2
    assert rebuild_tables(manifest.output).missing_shards == ("2/2",)
    run(manifest, shard=Shard(2, 2))
    assert rebuild_tables(manifest.output).missing_shards == ()
    assert verify_run(manifest.output).findings == ()


def test_weights_files_of_one_name_in_two_folders_are_both_named(tmp_path):
    manifest = tiny(tmp_path)
    note = read_note(Shard(1, 1).note(RunFolder(run(manifest, shard=Shard(1, 1)).folder)))
    other = note.networks[0].model_copy(update={"tensors_sha256": "1" * 64})
    notes = [note, note.model_copy(update={"networks": (other,)})]
    named = summary_of_shards(manifest, notes, plan(manifest), 7)["networks"]
    assert [network["tensors_sha256"] for network in named] == [note.networks[0].tensors_sha256, "1" * 64]


def wrong(folder: Path) -> list[str]:
    return [f"{one.file} {one.problem}" for one in verify_run(folder).findings if one.severity == "wrong"]


def test_no_tables_are_made_of_two_versions_of_a_source(tmp_path):
    def of(image: str):
        Image.open(skimage_path(image)).crop((0, 0, 200, 200)).save(tmp_path / "source.png")
        return tiny(tmp_path, sources=[{"id": "brick", "image": str(tmp_path / "source.png")}])

    for number in (1, 2):
        run(of("brick"), shard=Shard(number, 2))
    manifest = of("gravel")
    run(manifest, shard=Shard(1, 2))
    with pytest.raises(InputError, match="different sources or weights") as raised:
        rebuild_tables(manifest.output)
    assert "all of its shards" in raised.value.cure
    assert not (manifest.output / "stimuli.csv").exists()
    run(manifest, shard=Shard(2, 2))
    rebuild_tables(manifest.output)
    assert verify_run(manifest.output).findings == ()
