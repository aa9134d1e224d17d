"""Run folders that somebody else wrote: links, pipes, paths out of the folder, and false records."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.errors import InputError, StimgenError
from stimgen.manifest.load import load_manifest
from stimgen.report.reported import read_runs
from stimgen.runs.load import load_run
from stimgen.runs.runner import RunResult, run
from stimgen.runs.store import RunFolder, sha256

MANIFEST = {
    "stimgen": 1,
    "name": "hostile",
    "image": {"size_px": 32, "ppd": 41},
    "sources": [{"id": "brick", "image": "skimage:brick"}],
    "network": {"name": "vgg16", "weights": "random", "normalise": False},
    "seeds": [1, 2],
    "controls": ["original", "phase_scrambled"],
    "measure": {"layers": ["conv1_1"], "copying": False},
    "trials": {"design": "rating", "repeats": 1, "min_source_gap": 0, "crop_px": 32},
}
ONE = "brick-phase_scrambled-s1"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("honest")
    manifest = folder / "hostile.yaml"
    manifest.write_text(yaml.safe_dump(MANIFEST), encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert not run(load_manifest(manifest), out=folder / "run", device="cpu").failures
    torch.set_num_threads(threads)
    return RunFolder(folder / "run")


@pytest.fixture
def folder(honest: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(honest.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may be written to, with a file that nothing may change."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (outside / ".tmp-precious").write_text("precious")
    return outside


def untouched(outside: Path) -> bool:
    contents = {path.name: path.read_text() for path in outside.iterdir()}
    return contents == dict.fromkeys([".tmp-precious", "precious"], "precious")


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Unexpected" not in result.output
    return result.exit_code, result.output


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes), encoding="utf-8")


def run_again(folder: RunFolder, honest: RunFolder) -> RunResult:
    return run(load_manifest(honest.path.parent / "hostile.yaml"), out=folder.path, device="cpu")


def message(folder: RunFolder) -> str:
    with pytest.raises(InputError) as caught:
        load_run(folder.path)
    assert caught.value.cure
    return caught.value.problem


@pytest.mark.parametrize("name", ["stimuli", "trials", "checkpoints"])
def test_linked_folder_is_not_written_through(
    name: str, folder: RunFolder, outside: Path, honest: RunFolder
) -> None:
    shutil.rmtree(folder.path / name, ignore_errors=True)
    (folder.path / name).symlink_to(outside)
    with pytest.raises(InputError, match=f"{name} is a symbolic link"):
        run_again(folder, honest)
    for read in ("trials", "figure"):
        assert command(read, folder.path)[0] == 2
    assert untouched(outside)


def test_linked_files_are_replaced(folder: RunFolder, outside: Path, honest: RunFolder) -> None:
    names = ["run.json", "stimuli.csv", "stimuli.json", "manifest.yaml", f"records/{ONE}.json"]
    names += [f"stimuli/{ONE}.png", "trials/rating.csv", "trials/rating.json"]
    for name in names:
        (folder.path / name).unlink()
        (folder.path / name).symlink_to(outside / "precious")
    run_again(folder, honest)
    assert not any((folder.path / name).is_symlink() for name in names)
    assert untouched(outside)
    load_run(folder.path)


@pytest.mark.parametrize("name", [".lock", "lock.json"])
def test_linked_lock_is_not_written_through(name: str, folder: RunFolder, outside: Path) -> None:
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).symlink_to(outside / "precious")
    with pytest.raises(StimgenError), folder.locked():
        pass
    assert untouched(outside)


def test_run_folder_may_be_a_link(tmp_path: Path, honest: RunFolder) -> None:
    shutil.copytree(honest.path, tmp_path / "disk" / "run")
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "run")
    for path in (tmp_path / "results" / "run", tmp_path / "run"):
        assert run_again(RunFolder(path), honest).kept == 3
        assert len(load_run(path).records) == 3


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(10**12)


@pytest.mark.parametrize("spoil", [pipe, endless])
@pytest.mark.parametrize("name", ["run.json", "stimuli.csv", f"stimuli/{ONE}.png", f"records/{ONE}.json"])
def test_pipe_or_endless_file_is_refused(name: str, spoil: Callable[[Path], None], folder: RunFolder) -> None:
    spoil(folder.path / name)
    assert message(folder)
    assert command("trials", folder.path)[0] == 2
    if name in ("stimuli.csv", f"stimuli/{ONE}.png"):
        assert command("figure", folder.path, "--rows", "seed", "--columns", "condition")[0] == 2


def test_next_run_replaces_pipes_and_endless_files(folder: RunFolder, honest: RunFolder) -> None:
    pipe(folder.path / "run.json")
    pipe(folder.path / "stimuli.csv")
    pipe(folder.record(ONE))
    endless(folder.record("brick-original"))
    result = run_again(folder, honest)
    assert (result.made, result.failures) == (2, ())
    load_run(folder.path)


RECORDS: dict[str, dict[str, Any]] = {
    "path": {"filename": "../../etc/passwd"},
    "another file": {"filename": "stimuli/brick-original.png"},
    "id": {"stimulus_id": "../../x"},
    "long id": {"stimulus_id": "a" * 10_000, "filename": f"stimuli/{'a' * 10_000}.png"},
    "large seed": {"seed": 10**30},
    "list": {"source": []},
    "unknown": {"evil": 1},
}


@pytest.mark.parametrize("kind", RECORDS)
def test_false_record_is_damaged(kind: str, folder: RunFolder) -> None:
    change(folder.record(ONE), **RECORDS[kind])
    assert str(folder.record(ONE)) in message(folder)
    assert folder.read_record(ONE) is None or kind == "unknown"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("key", ['"clipped_share": ', '"size_px": ', '"gram_ceiling_conv1_1": '])
def test_record_with_a_number_that_is_not_finite_is_damaged(key: str, number: str, folder: RunFolder) -> None:
    text = folder.record(ONE).read_text()
    place = text.index(key) + len(key)
    end = min(text.index(mark, place) for mark in ",\n")
    folder.record(ONE).write_text(text[:place] + number + text[end:])
    assert "is damaged" in message(folder)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "\0", '{"format": ' + "9" * 5000 + "}"], ids=["deep", "null", "digits"]
)
@pytest.mark.parametrize("name", ["run.json", f"records/{ONE}.json"])
def test_json_that_cannot_be_read_is_damaged(name: str, text: str, folder: RunFolder) -> None:
    (folder.path / name).write_text(text)
    assert "damaged" in message(folder)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", "nan", "=1+1", "a\nb", "x" * 9999])
def test_id_in_the_table_that_is_no_id_is_refused(name: str, folder: RunFolder) -> None:
    table = pd.read_csv(folder.path / "stimuli.csv")
    table["stimulus_id"] = table["stimulus_id"].replace(ONE, name)
    table.to_csv(folder.path / "stimuli.csv", index=False)
    assert len(message(folder)) < 1000


def test_figure_shows_only_files_of_its_run(folder: RunFolder) -> None:
    table = pd.read_csv(folder.path / "stimuli.csv")
    for name in ("../../../etc/passwd", "/etc/passwd", ""):
        changed = table.assign(filename=table["filename"].replace(f"stimuli/{ONE}.png", name))
        changed.to_csv(folder.path / "stimuli.csv", index=False)
        (read,) = read_runs([folder.path], check=False)
        assert all(Path(path).parent == folder.stimuli for path in read.table["path"])


MANIFESTS = {
    "tag": "name: !!python/object/apply:os.mkdir ['executed']\n",
    "types": "name: 1\nlayer_sets: []\nseeds: {}\nsources: 3\ncontrols: [x]\n",
    "ids": "name: a\nlayer_sets: {}\nseeds: [1]\nsources: [id]\ncontrols: [[id, name]]\n",
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_hostile_manifest_in_a_run_is_refused(
    kind: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder.path / "manifest.resolved.yaml").write_text(MANIFESTS[kind])
    for name in ("trials", "figure"):
        assert command(name, folder.path)[0] == 2
    assert not (tmp_path / "executed").exists()


def test_prune_removes_nothing_outside_the_run(folder: RunFolder, honest: RunFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious.csv"
    precious.write_text("precious")
    noted = {"../../precious": sha256(b"precious"), str(tmp_path / "precious"): sha256(b"precious")}
    for lists in (noted, [1], {"rating": 3}):
        change(folder.path / "run.json", trial_lists=lists)
        code, output = command(
            "run", honest.path.parent / "hostile.yaml", "--out", folder.path, "--prune", "--no-report"
        )
        assert code == 0, output
        assert precious.read_text() == "precious"
    assert set(json.loads((folder.path / "run.json").read_bytes())["trial_lists"]) == {"rating"}
