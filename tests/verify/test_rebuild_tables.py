from __future__ import annotations

import shutil

import pandas as pd
import pytest
from run_manifests import IDS, tiny
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.errors import InputError
from stimgen.runs.runner import run
from stimgen.verify.rebuild import rebuild_tables
from stimgen.verify.run import verify_run

LIST = {"design": "oddity", "crop_px": 16, "repeats": 3, "min_source_gap": 0}


def texts(folder):
    places = (*folder.path.glob("*.csv"), *folder.path.glob("*.json"), *folder.path.glob("trials/*"))
    return {path.relative_to(folder.path): path.read_bytes() for path in places}


@pytest.fixture
def listed(as_finished, tmp_path):
    run(tiny(tmp_path, trials=LIST))
    shutil.rmtree(tmp_path / "manifests")
    return as_finished


def test_deleted_tables_come_back_to_the_byte_without_sources_or_weights(listed, monkeypatch):
    monkeypatch.setattr("stimgen.networks.weights.find.find_weights", None)
    before = texts(listed)
    assert len(before) == 2 * 5 + 2 + 1
    for path in before:
        if path.name != "run.json":
            (listed.path / path).unlink()
    result = rebuild_tables(listed.path)
    assert texts(listed) == before
    assert (result.stimuli, result.planned, result.outdated) == (7, 7, ())


def test_a_lost_summary_is_written_as_far_as_it_is_known(listed, tmp_path):
    (listed.path / "run.json").unlink()
    rebuild_tables(listed.path)
    summary = listed.read_summary()
    assert (summary["name"], summary["stimuli"], summary["kept"]) == ("tiny", 7, 7)
    verified = verify_run(listed.path)
    assert verified.verified == 7
    assert not verified.right, "what only stimgen run knows is not there"
    (finding,) = verified.findings
    assert (finding.severity, finding.file, finding.cures) == ("incomplete", "run.json", ("run",))
    run(tiny(tmp_path, trials=LIST))
    assert verify_run(listed.path).right


def test_damaged_records_and_altered_files_are_named_and_nothing_is_written(listed):
    before = texts(listed)
    listed.record(IDS[0]).write_text("{")
    shutil.copy(listed.record(IDS[1]), listed.record(IDS[2]))
    listed.png(IDS[3]).write_bytes(b"x")
    listed.png(IDS[4]).unlink()
    with pytest.raises(InputError) as error:
        rebuild_tables(listed.path)
    for words in (
        f"records/{IDS[0]}.json is damaged",
        f"records/{IDS[2]}.json is the record of {IDS[1]}",
        f"stimuli/{IDS[3]}.png was altered: its SHA-256 is",
        f"stimuli/{IDS[4]}.png is missing",
    ):
        assert words in error.value.problem
    assert IDS[5] not in error.value.problem
    assert texts(listed) == before
    result = CliRunner().invoke(app, ["tables", str(listed.path)])
    assert (result.exit_code, "No tables can be made" in result.stderr) == (2, True)


def test_stimuli_of_other_settings_are_left_out(listed):
    path = listed.path / "manifest.resolved.yaml"
    path.write_text(path.read_text("utf-8").replace("periodic_component: false", "periodic_component: true"))
    result = rebuild_tables(listed.path)
    assert result.outdated == tuple(IDS[5:])
    assert pd.read_csv(listed.path / "stimuli.csv")["stimulus_id"].tolist() == IDS[:5]


@pytest.mark.parametrize("first", ["", "\ufeff"])
def test_failures_are_listed_until_they_are_mended_however_often_they_are_written(listed, first):
    listed.png(IDS[0]).unlink()
    listed.record(IDS[0]).unlink()
    table = listed.path / "failures.csv"
    header = "stimulus_id,error,cure"
    rows = [f"{name},'[1] is no image.,''tis the end." for name in IDS[:2]]
    table.write_text(first + "\n".join([header, *rows]) + "\n", "utf-8")
    for _ in range(2):
        rebuild_tables(listed.path)
        assert table.read_text("utf-8").splitlines() == [header, rows[0]]
    assert listed.read_summary()["failed"] == 1
