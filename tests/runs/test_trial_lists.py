from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from run_manifests import IDS, stimgen, tiny, write_manifest

from stimgen.errors import InputError
from stimgen.runs.load import load_run
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder, sha256
from stimgen.runs.trial_lists import trial_list, write_trial_list
from stimgen.trials import DESIGNS, OptionError

NEAR = {"min_source_gap": 0}
LISTS = {
    "oddity": {"design": "oddity", "crop_px": 16, "repeats": 3, **NEAR},
    "which": {"design": "two_interval", **NEAR},
    "same": {"design": "two_interval", "task": "same_different", "crop_px": 8, **NEAR},
    "rating": {"design": "rating", "break_every": 4, **NEAR},
    "category": {
        "design": "category",
        "by": "condition",
        "conditions": ["pool1", "original"],
        "keys": {"pool1": "n", "original": "space"},
        **NEAR,
    },
    "morph": {"design": "morph", "levels": {"conv1_1": 0, "pool1": 1}, "trials_per_staircase": 4, **NEAR},
}
SECTION = [{"id": name, **options} for name, options in LISTS.items()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def listed(finished, tmp_path_factory):
    """The finished run with its manifest's trial lists, which are added to it afterwards."""
    folder = tmp_path_factory.mktemp("listed")
    shutil.copytree(finished.path, folder / "results" / "tiny")
    result = run(tiny(folder, trials=SECTION))
    assert (result.made, result.kept) == (0, 7)
    assert [path.name for path in result.trial_lists] == [f"{name}.csv" for name in LISTS]
    return RunFolder(result.folder)


@pytest.mark.parametrize("name", LISTS)
def test_every_patch_is_a_file_with_the_hash_beside_it(listed, name):
    table = pd.read_csv(listed.trials / f"{name}.csv")
    sides = {record.stimulus_id: record for record in load_run(listed.path).records}
    for patch in DESIGNS[LISTS[name]["design"]].patches:
        for _, row in table.iterrows():
            file = row[f"{patch}_file"]
            assert file == f"../stimuli/{row[f'{patch}_id']}.png"
            content = (listed.trials / file).read_bytes()
            assert row[f"{patch}_sha256"] == f"sha256:{sha256(content)}"
            assert sides[row[f"{patch}_id"]].source.id == row["source"]
    assert set(table["ppd"]) == {41}
    assert set(table["stimulus_id"]) <= set(IDS)


def test_the_command_writes_the_lists_of_the_manifest_anew(listed, tmp_path):
    shutil.copytree(listed.path, tmp_path / "run")
    # The manifest's folder is not there, nor need it be: the run has all that is needed.
    folder = RunFolder(tmp_path / "run")
    shutil.rmtree(folder.trials)
    result = stimgen("trials", folder.path)
    assert result.exit_code == 0, result.output
    assert result.output.count("Trial list: ") == len(LISTS)
    assert contents(folder.trials) == contents(listed.trials)


def test_a_list_of_the_command_line_is_that_of_the_manifest(listed, tmp_path):
    settings = ["crop_px=16", "repeats=3", "min_source_gap=0"]
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "lists" / "p1.csv"
    assert stimgen("trials", listed.path, "--design", "oddity", *words, "--out", out).exit_code == 0
    mine, theirs = pd.read_csv(out), pd.read_csv(listed.trials / "oddity.csv")
    files = [column for column in mine if column.endswith("_file")]
    pd.testing.assert_frame_equal(mine.drop(columns=files), theirs.drop(columns=files))
    for column in files:
        for a, b in zip(mine[column], theirs[column], strict=True):
            assert "\\" not in a
            assert not Path(a).is_absolute()
            assert (out.parent / a).resolve() == (listed.trials / b).resolve()
    other = tmp_path / "p2.csv"
    stimgen("trials", listed.path, "--design", "oddity", *words, "--set", "seed=2", "--out", other)
    assert pd.read_csv(other)["left_x"].tolist() != mine["left_x"].tolist()


REFUSED = [
    (["--design", "odity", "--out", "x.csv"], 'design: unknown design "odity". Did you mean "oddity"?'),
    (["--out", "x.csv"], "--design and --out go together"),
    (["--set", "seed=1"], "--set and --force go with them"),
    (["--design", "oddity", "--out", "x.txt"], "is not a CSV file"),
    (["--design", "oddity", "--out", "x.csv", "--set", "repeats"], "--set repeats: expected KEY=VALUE"),
    (
        ["--design", "oddity", "--out", "x.csv", "--set", "repeats=0"],
        "repeats: expected a number greater than or equal to 1",
    ),
    (
        ["--design", "oddity", "--out", "x.csv", "--set", "repeat=2"],
        'unknown key "repeat". Did you mean "repeats"?',
    ),
    (["--design", "oddity", "--out", "x.csv", "--set", "seed=[1"], "--set: not valid YAML"),
    (["--design", "rating", "--out", "x.csv", "--set", "keys=[f, 1]"], '"1" is no name of a key'),
    (["--design", "rating", "--out", "x.csv", "--set", "conditions=x"], 'a list such as [x], got "x"'),
    (
        ["--design", "oddity", "--out", "x.csv", "--set", "seed=1", "--set", "seed=2"],
        "--set seed is given twice.",
    ),
    (["--design", "oddity", "--out", "x.csv", "--set", "crop_px=16"], "Set min_source_gap to 0 at most"),
    (["--design", "oddity", "--out", "x.csv", "--set", "conditions=[pool9]"], "Two patches of 128 px"),
    (
        ["--design", "category", "--out", "x.csv", "--set", "keys={brick:left}"],
        "a space is missing after a colon.\nWrite --set 'keys={brick: left}'.",
    ),
    ([], "has no trials"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_what_the_command_refuses(finished, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = stimgen("trials", finished.path, *arguments)
    assert words in result.output
    assert result.exit_code == 2
    assert not any(tmp_path.iterdir())
    assert not finished.trials.exists()


RATING = ["--design", "rating", "--set", "min_source_gap=0"]


def test_another_list_is_replaced_only_by_force(finished, tmp_path):
    out = tmp_path / "p1.csv"
    for _ in range(2):  # the same list may be written again
        assert stimgen("trials", finished.path, *RATING, "--out", out).exit_code == 0
    before = contents(tmp_path)
    other = ["trials", finished.path, *RATING, "--set", "seed=2", "--out", out]
    refused = stimgen(*other)
    assert (refused.exit_code, contents(tmp_path)) == (2, before)
    assert "p1.csv is there and is another trial list.\nChoose another name with --out, or" in refused.output
    assert stimgen(*other, "--force").exit_code == 0
    assert contents(tmp_path)["p1.csv"] != before["p1.csv"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p1.csv", b"participant,age\np01,30\n"),
        ("p1.csv", b"\xff\xfe"),
        ("p1.json", b'{"participant": {"Description": "mine"}}'),
    ],
)
def test_what_is_no_list_is_never_overwritten(finished, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    result = stimgen("trials", finished.path, *RATING, "--out", tmp_path / "p1.csv", "--force")
    assert result.exit_code == 2
    assert f"{name} is there and is no trial list" in result.output
    assert contents(tmp_path) == {name: content}


@pytest.mark.parametrize("place", ["stimuli.csv", "records/new.csv"])
def test_no_list_goes_among_the_files_of_a_run(as_finished, place):
    before = contents(as_finished.records), as_finished.path.joinpath("stimuli.csv").read_bytes()
    result = stimgen("trials", as_finished.path, *RATING, "--out", as_finished.path / place, "--force")
    assert result.exit_code == 2
    assert "holds the run's own files" in result.output
    assert (contents(as_finished.records), as_finished.path.joinpath("stimuli.csv").read_bytes()) == before


def test_lists_are_not_written_where_stimuli_are_missing(as_finished, tmp_path, control):
    def fails(source, rng):
        raise ValueError("no")

    control("fails", fails)
    path = write_manifest(
        tmp_path, controls=["original", "phase_scrambled", "fails"], trials={"design": "rating", **NEAR}
    )
    result = stimgen("run", path, "--device", "cpu", "--out", as_finished.path)
    assert result.exit_code == 3
    assert "The trial lists are not written, because stimuli are missing." in result.output
    assert not as_finished.trials.exists()


def test_run_says_which_lists_are_not_as_they_were(as_finished, tmp_path):
    odd, rating = ({"id": name, **LISTS[name]} for name in ("oddity", "rating"))
    stimgen("run", write_manifest(tmp_path, trials=[odd, rating]))
    again = stimgen("run", write_manifest(tmp_path, trials=[odd, rating]))
    assert "Not as they were before" not in again.output
    other = stimgen("run", write_manifest(tmp_path, trials=[odd, rating | {"seed": 99}]))
    assert "Not as they were before: rating. Sessions" in other.output


def test_only_accepted_stimuli_if_that_is_asked_for(finished, tmp_path):
    loaded = load_run(finished.path)
    options = DESIGNS["rating"].options(min_source_gap=0, accepted_only=True)
    rejected = [stimulus_id == "brick-pool1-s2" for stimulus_id in IDS]
    some = replace(loaded, table=loaded.table.assign(accepted=[not r for r in rejected]))
    assert set(trial_list(some, "rating", options, tmp_path)["stimulus_id"]) == set(IDS) - {"brick-pool1-s2"}
    none = replace(loaded, table=loaded.table.assign(accepted=False))
    with pytest.raises(OptionError, match="no stimulus of the source brick in the condition conv1_1"):
        trial_list(none, "rating", options, tmp_path)
    everything = options.model_copy(update={"accepted_only": False})
    assert set(trial_list(none, "rating", everything, tmp_path)["stimulus_id"]) == set(IDS)


@pytest.mark.parametrize("name", ["a,b", "a  b"])
def test_a_path_that_psychopy_would_change_is_refused(finished, tmp_path, name):
    folder = tmp_path / name
    shutil.copytree(finished.path, folder / "run")
    options = DESIGNS["rating"].options(min_source_gap=0)
    loaded = load_run(folder / "run")
    with pytest.raises(InputError, match="PsychoPy cannot read the path"):
        trial_list(loaded, "rating", options, tmp_path)
    # Inside the run nothing of the name is in the path.
    inside = trial_list(loaded, "rating", options, folder / "run" / "trials")
    assert set(inside["image_file"]) == {f"../stimuli/{stimulus_id}.png" for stimulus_id in IDS}


# What PsychoPy makes of the files. It runs in a process of its own, because importing it changes settings.
# Its numbers are numpy's, here made Python's.

IMPORT = """
import json, os, sys
from psychopy import data
found = {}
for path in sys.argv[1:]:
    rows = data.importConditions(path)
    plain = [{key: getattr(value, "item", lambda: value)() for key, value in row.items()} for row in rows]
    found[path] = [{key: [type(value).__name__, value] for key, value in row.items()} for row in plain]
print("FOUND" + json.dumps(found))
"""
needs_psychopy = pytest.mark.skipif(
    find_spec("psychopy") is None and os.environ.get("CI", "").lower() not in ("1", "true"),
    reason="PsychoPy is not installed: pip install '.[psychopy]'",
)


def imported(paths, folder):
    """Return the rows of each file as PsychoPy reads them, each value with the name of its type."""
    # PsychoPy writes preferences and logs below the home folder.
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, *map(str, paths)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("FOUND")[2])


def awkward(loaded):
    """Return a run whose ids look like other things, with one seed that is the largest there is."""
    ids = {"pool1": "e5", "conv1_1": "E1", "original": "inf1", "phase_scrambled": "NaN_"}
    records = []
    for record in loaded.records:
        seed = 2**32 - 1 if record.seed == 2 else record.seed
        name = f"TRUE1-{ids[record.condition]}{'' if seed is None else f'-s{seed}'}"
        changed = {
            "stimulus_id": name,
            "filename": f"stimuli/{name}.png",
            "condition": ids[record.condition],
            "seed": seed,
            "png_sha256": "1" * 30 + "e" + "1" * 33,
            "source": record.source.model_copy(update={"id": "TRUE1"}),
        }
        records.append(record.model_copy(update=changed))
    return replace(loaded, records=tuple(records)), ids


@needs_psychopy
def test_psychopy_reads_every_cell_with_its_type_and_value(finished, tmp_path):
    odd, ids = awkward(load_run(finished.path))
    tables = {}
    for name, spelt in LISTS.items():
        options = {key: value for key, value in spelt.items() if key != "design"}
        if "conditions" in options:
            options |= {"conditions": ["e5", "inf1"], "keys": {"e5": "e", "inf1": "n"}}
        if "levels" in options:
            options["levels"] = {"E1": 0, "e5": 1}
        valid = DESIGNS[spelt["design"]].options(**options)
        path = tmp_path / f"{name}.csv"
        write_trial_list(odd, spelt["design"], valid, path)
        tables[path] = trial_list(odd, spelt["design"], valid, path.parent)
    found = imported(tables, tmp_path)
    assert set(ids.values()) == {row["condition"][1] for row in found[str(tmp_path / "rating.csv")]}
    for path, table in tables.items():
        rows = found[str(path)]
        assert len(rows) == len(table)
        # A seed is read as 3.0 where others are empty, as every program does that has one type per column.
        with_gaps = {column for column in table if table[column].isna().any()}
        assert with_gaps <= {"seed"}
        for row, expected in zip(rows, table.to_dict("records"), strict=True):
            assert set(row) == set(expected)
            for column, value in expected.items():
                if pd.isna(value):
                    assert row[column] == ["NoneType", None], column
                else:
                    assert row[column] == ["float" if column in with_gaps else type(value).__name__, value], (
                        column
                    )
