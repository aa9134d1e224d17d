from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from run_manifests import IDS

import stimgen
from stimgen.errors import InputError
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_a_run_is_read_in_the_order_of_its_manifest(finished):
    run = stimgen.load_run(finished.path)
    assert isinstance(run, stimgen.Run)
    assert (run.folder, run.name) == (finished.path, "tiny")
    assert [record.stimulus_id for record in run.records] == IDS
    assert all(isinstance(record, Record) for record in run.records)
    assert run.table["stimulus_id"].tolist() == IDS
    on_disk = pd.read_csv(finished.path / "stimuli.csv")
    assert list(run.table.columns) == [*on_disk.columns, "path"]
    assert run.table["seed"].dtype == "Int64"
    assert run.table["seed"].tolist()[:4] == [1, 2, 1, 2]
    assert run.table["seed"].isna().tolist() == [False] * 4 + [True, False, False]
    for record, path in zip(run.records, run.table["path"], strict=True):
        assert Path(path).is_absolute()
        assert sha256(Path(path).read_bytes()) == record.png_sha256


def test_other_files_are_not_in_it(copied):
    shutil.copy(copied.png(IDS[0]), copied.png("brick-pool9-s1"))
    shutil.copy(copied.record(IDS[0]), copied.record("brick-pool9-s1"))
    assert [record.stimulus_id for record in stimgen.load_run(copied.path).records] == IDS


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes), encoding="utf-8")


def of_another_table(folder):
    table = pd.read_csv(folder.path / "stimuli.csv").assign(png_sha256="sha256:0")
    table.to_csv(folder.path / "stimuli.csv", index=False)


DAMAGE = {
    "is a run of an older stimgen .*: it has format 1": lambda run: change(run.path / "run.json", format=1),
    "holds no stimgen run": lambda run: shutil.rmtree(run.records),
    "is no folder": lambda run: shutil.rmtree(run.path),
    "stimuli.csv cannot be read": lambda run: (run.path / "stimuli.csv").unlink(),
    "run.json is missing or damaged": lambda run: (run.path / "run.json").write_text("{"),
    "brick-pool1-s1.json is missing": lambda run: run.record("brick-pool1-s1").unlink(),
    "brick-pool1-s1.json is damaged .seed: ": lambda run: change(run.record("brick-pool1-s1"), seed="two"),
    "is the record of brick-pool1-s2": lambda run: shutil.copy(
        run.record("brick-pool1-s2"), run.record("brick-pool1-s1")
    ),
    "is not the table of these records: brick-conv1_1-s1, .* and 2 more": of_another_table,
    "lacks stimuli/brick-original.png": lambda run: run.png("brick-original").unlink(),
    "not those that their records describe: stimuli/brick-original.png": lambda run: shutil.copy(
        run.png("brick-pool1-s1"), run.png("brick-original")
    ),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_each_damage_is_reported_with_a_hint(copied, words):
    DAMAGE[words](copied)
    with pytest.raises(InputError, match=words) as caught:
        stimgen.load_run(copied.path)
    assert caught.value.cure


def test_files_are_compared_only_where_it_is_asked_for(copied):
    shutil.copy(copied.png("brick-pool1-s1"), copied.png("brick-original"))
    assert len(stimgen.load_run(copied.path, check_hashes=False).records) == 7


def test_a_run_needs_neither_torch_nor_psychopy(finished):
    """In a process of its own, in which they cannot be imported."""
    script = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'psychopy'):\n"
        "    sys.modules[name] = None\n"
        "import stimgen\n"
        "early = [m for m in ('pandas', 'numpy', 'pydantic', 'scipy') if m in sys.modules]\n"
        "print(early, len(stimgen.load_run(sys.argv[1]).records), stimgen.__version__ != '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(finished.path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] 7 True\n"


def test_a_run_that_lacks_stimuli_is_refused_unless_asked_for(copied):
    change(copied.path / "run.json", stimuli=len(IDS) + 2)
    with pytest.raises(InputError, match=f"has {len(IDS)} of the {len(IDS) + 2} stimuli of its manifest"):
        stimgen.load_run(copied.path)
    assert len(stimgen.load_run(copied.path, complete=False).records) == len(IDS)
