from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import IDS, tiny, write_manifest
from same_runs import comparable
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.column import Column
from stimgen.measure import STATISTICS, Statistic
from stimgen.runs.columns import TABLES
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import outlook
from stimgen.runs.runner import run
from stimgen.verify.recompute import recompute_statistics
from stimgen.verify.report import sentences
from stimgen.verify.run import verify_run


def brightest(image):
    return {"brightest": float(image.luminance.max())}


def file_times(folder):
    return {name: folder.png(name).stat().st_mtime_ns for name in IDS}


def register_brightest(monkeypatch, version=1):
    """Register a statistic `brightest` in some version."""
    assert "luminance" in STATISTICS
    columns = (Column("brightest", "Brightest pixel", "Largest luminance."),)
    entry = Statistic("brightest", brightest, columns, 99, version)
    monkeypatch.setitem(STATISTICS._entries, "brightest", entry)
    stimuli = [column for column in TABLES["stimuli"] if column.name != "brightest"]
    monkeypatch.setitem(TABLES, "stimuli", (*stimuli, *columns))


@pytest.fixture
def statistic(monkeypatch):
    return partial(register_brightest, monkeypatch)


def test_a_new_statistic_is_measured_on_the_files_and_keeps_the_images(as_finished, tmp_path, statistic):
    before, text = file_times(as_finished), (as_finished.path / "stimuli.csv").read_text()
    statistic()
    notes = []

    class Listening(Progress):
        def note(self, text):
            notes.append(text)

    result = run(tiny(tmp_path), progress=Listening(quiet=True))
    assert (result.made, result.measured, result.kept) == (0, 7, 0)
    assert any("to keep 0, to measure again 7, to match again 0, to synthesise 0" in note for note in notes)
    assert file_times(as_finished) == before
    table = pd.read_csv(as_finished.path / "stimuli.csv", index_col="stimulus_id")
    for name in IDS:
        level = np.asarray(Pillow.open(as_finished.png(name))).max()
        assert table["brightest"][name] == pytest.approx(level / 255, rel=1e-6)
        assert as_finished.read_record(name).measured_with["brightest"] == 1
    lines = (as_finished.path / "stimuli.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == text.splitlines()


def test_a_run_without_a_column_is_right_and_the_column_is_noted(as_finished, tmp_path, statistic):
    before = verify_run(as_finished.path)
    statistic()
    result = verify_run(as_finished.path)
    assert (result.right, result.verified, result.stimuli_sha256) == (True, 7, before.stimuli_sha256)
    text = "was measured without the columns brightest; stimgen run measures the PNG file again and keeps it"
    assert {(one.severity, one.problem) for one in result.findings} == {("warning", text)}
    *_, fingerprint = sentences(result)
    assert fingerprint.endswith(before.stimuli_sha256)
    assert recompute_statistics(result).right
    said = outlook(tiny(tmp_path), as_finished)
    assert (said.steps, said.replace) == ({"measure": 7}, 0)
    checked = CliRunner().invoke(app, ["check", str(write_manifest(tmp_path))])
    assert "to keep 0, to measure again 7, to match again 0, to synthesise 0 (files" in checked.stdout


def test_a_column_of_another_stimgen_is_told_and_left_out_of_the_tables(as_finished, tmp_path, monkeypatch):
    without = (as_finished.path / "stimuli.csv").read_bytes()
    with monkeypatch.context() as context:
        register_brightest(context)
        assert run(tiny(tmp_path)).made == 0
    assert b"brightest" in (as_finished.path / "stimuli.csv").read_bytes()
    result = verify_run(as_finished.path)
    assert (result.right, result.verified) == (True, 7)
    assert all("was measured with brightest, which this stimgen" in one.problem for one in result.findings)
    assert recompute_statistics(result).right
    table = pd.read_csv(as_finished.path / "stimuli.csv", dtype=str)
    table.assign(luminance_mean="0.5").to_csv(as_finished.path / "stimuli.csv", index=False)
    assert not verify_run(as_finished.path).right
    rebuilt = CliRunner().invoke(app, ["tables", str(as_finished.path)])
    assert rebuilt.exit_code == 0
    assert "does not measure them: brightest" in rebuilt.stderr
    assert (as_finished.path / "stimuli.csv").read_bytes() == without
    assert verify_run(as_finished.path).right


def test_statistics_asked_for_again_are_those_of_the_first_run(as_finished, finished, tmp_path):
    run(tiny(tmp_path, measure={"copying": False}))
    table = pd.read_csv(as_finished.path / "stimuli.csv")
    assert not [column for column in table if column.startswith("copying")]
    assert table["copied"].isna().all()
    assert run(tiny(tmp_path)).made == 0
    again, first = comparable(as_finished.path), comparable(finished.path)
    assert {name for name, content in first.items() if again[name] != content} <= {
        "manifest.resolved.yaml",
        "run.json",
    }
