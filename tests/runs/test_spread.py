"""Runs of many stimuli, whose files are spread over subfolders. Here, four are many."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from run_manifests import IDS, tiny, write_manifest
from run_manifests import stimgen as command
from same_runs import comparable

import stimgen
from stimgen.errors import InputError
from stimgen.runs import store, tables
from stimgen.runs.recipe import outlook
from stimgen.runs.record import png_name, record_name
from stimgen.runs.results import Shard
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder
from stimgen.verify.rebuild import rebuild_tables
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run

LIST = {"id": "odd", "design": "oddity", "crop_px": 16, "repeats": 3, "min_source_gap": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same run, flat and spread."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        flat = run(tiny(folder, trials=LIST), out=folder / "flat")
        patch.setattr(store, "MOST_FLAT", 3)
        spread = run(tiny(folder, trials=LIST), out=folder / "spread")
    assert flat.made == spread.made == len(IDS)
    return folder


@pytest.fixture
def spread(made, tmp_path):
    """A copy of the run that is spread; the number from which runs are is what it always is."""
    return RunFolder(shutil.copytree(made / "spread", tmp_path / "spread"))


def by_file(folder):
    return {one.file: one.problem for one in verify_run(folder.path).findings}


def test_files_lie_in_the_subfolders_of_their_ids(spread):
    assert spread.is_spread
    for stimulus_id in IDS:
        for name in (png_name, record_name):
            inner = name(stimulus_id, spread=True)
            assert (spread.path / inner).is_file()
            assert re.fullmatch("[0-9a-f]{2}", inner.split("/")[1])
            assert not (spread.path / name(stimulus_id, spread=False)).exists()
    assert not list(spread.path.glob("stimuli/*.png")) + list(spread.path.glob("records/*.json"))


def test_images_and_numbers_are_those_of_a_flat_run(made):
    flat, spread = RunFolder(made / "flat"), RunFolder(made / "spread")
    for stimulus_id in IDS:
        assert flat.png(stimulus_id).read_bytes() == spread.png(stimulus_id).read_bytes()
    for name in tables.LONG_TABLES:
        assert (flat.path / f"{name}.csv").read_bytes() == (spread.path / f"{name}.csv").read_bytes()
    one, other = (pd.read_csv(folder.path / "stimuli.csv") for folder in (flat, spread))
    pd.testing.assert_frame_equal(one.drop(columns="filename"), other.drop(columns="filename"))
    assert list(other["filename"]) == [png_name(stimulus_id, spread=True) for stimulus_id in IDS]


def test_readers_find_what_is_spread(spread):
    loaded = stimgen.load_run(spread.path)
    assert [record.stimulus_id for record in loaded.records] == IDS
    assert all(Path(path).is_file() for path in loaded.table["path"])
    trials = pd.read_csv(spread.trials / "odd.csv")
    shown = {cell for name in trials for cell in trials[name] if str(cell).endswith(".png")}
    assert shown
    assert all((spread.trials / cell).is_file() for cell in shown)
    assert command("report", spread.path).exit_code == 0
    assert command("figure", spread.path, "--out", spread.path.parent / "figure.png").exit_code == 0


def test_the_fingerprint_is_what_the_command_prints(spread):
    result = verify_run(spread.path)
    assert (result.right, result.verified) == (True, len(IDS))
    command, _, printed = list(sentences(result))[-1].rpartition(": ")
    assert command.startswith("find stimuli")
    c_locale = os.environ | {"LC_ALL": "C"}
    shell = ["sh", "-c", command]
    done = subprocess.run(shell, cwd=spread.path, env=c_locale, capture_output=True, text=True)
    assert done.stdout.split()[0] == printed == result.stimuli_sha256


def test_what_is_missing_is_made_again_in_its_place(spread, made):
    before = comparable(made / "spread")
    spread.png(IDS[0]).unlink()
    spread.record(IDS[1]).unlink()
    assert spread.png(IDS[0]).relative_to(spread.path).as_posix() in by_file(spread)
    manifest = tiny(made, trials=LIST)
    found = outlook(manifest, spread)
    assert found.steps == {"keep": len(IDS) - 2, "match": 1, "synthesise": 1}
    result = run(manifest, out=spread.path)
    assert (result.made, result.matched, result.kept) == (1, 1, len(IDS) - 2)
    after = comparable(spread.path)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {
        "manifest.resolved.yaml",  # it names sources relative to itself
        "run.json",
    }


def test_shards_agree_on_the_subfolders(made, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST_FLAT", 3)
    for number in (1, 2):
        run(tiny(made, trials=LIST), shard=Shard(number, 2), out=tmp_path / "run")
    rebuild_tables(tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_spread
    assert verify_run(tmp_path / "run").right


def test_a_run_stays_as_it_began(made, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST_FLAT", 3)
    flat = RunFolder(shutil.copytree(made / "flat", tmp_path / "flat"))
    spread = RunFolder(shutil.copytree(made / "spread", tmp_path / "spread"))
    assert run(tiny(made, trials=LIST), out=flat.path).kept == len(IDS)
    assert not flat.is_spread
    monkeypatch.setattr(store, "MOST_FLAT", 10**6)
    assert run(tiny(made, trials=LIST), out=spread.path).kept == len(IDS)


@pytest.mark.parametrize("there", [(), ("records", "records/00")])
def test_a_run_that_was_killed_while_its_folders_were_made_is_spread(tmp_path, monkeypatch, there):
    monkeypatch.setattr(store, "MOST_FLAT", 3)
    for name in there:
        (tmp_path / "run" / name).mkdir(parents=True)
    RunFolder(tmp_path / "run").prepare(4)
    assert len(list((tmp_path / "run").glob("*/??"))) == 3 * 256


def test_leftovers_in_subfolders_are_removed_and_links_refused(spread, made, tmp_path):
    leftover = spread.stimuli / "7a" / ".tmp-0123456789abcdef"
    leftover.write_bytes(b"half")
    assert by_file(spread)["stimuli/7a/.tmp-0123456789abcdef"].startswith("is the unfinished file")
    run(tiny(made, trials=LIST), out=spread.path)
    assert not leftover.exists()
    empty = next(path for path in sorted(spread.records.iterdir()) if not list(path.iterdir()))
    empty.rmdir()
    empty.symlink_to(tmp_path)
    with pytest.raises(InputError, match="symbolic link"):
        run(tiny(made, trials=LIST), out=spread.path)
    assert f"records/{empty.name}" in by_file(spread)


def test_tables_do_not_depend_on_how_many_records_are_in_memory(made, monkeypatch):
    before = {path.name: path.read_bytes() for path in (made / "flat").glob("*.csv")}
    for together in (1, 2, 1000):
        monkeypatch.setattr("stimgen.runs.csv_files.PIECE_ROWS", together)
        for path in (made / "flat").glob("*.csv"):
            path.unlink()
        rebuild_tables(made / "flat")
        assert {path.name: path.read_bytes() for path in (made / "flat").glob("*.csv")} == before


def test_stimuli_that_are_not_asked_for_are_removed_from_subfolders(spread):
    path = write_manifest(spread.path.parent, trials=LIST)
    pruned = ("--out", spread.path, "--seeds", "1", "--prune", "--yes", "--no-report")
    assert command("run", path, *pruned).exit_code == 0
    kept = {path.stem for path in spread.path.rglob("*.png")}
    assert kept == {stimulus_id for stimulus_id in IDS if not stimulus_id.endswith("-s2")}
