from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import IDS, tiny
from same_runs import comparable

from stimgen.column import Column
from stimgen.measure import STATISTICS, Statistic
from stimgen.runs.columns import TABLES
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run


def brightest(image):
    return {"brightest": float(image.luminance.max())}


def file_times(folder):
    return {name: folder.png(name).stat().st_mtime_ns for name in IDS}


@pytest.fixture
def statistic(monkeypatch):
    """Return a function that registers a statistic `brightest` in some version."""
    columns = (Column("brightest", "Brightest pixel", "Largest luminance."),)

    def register(version=1):
        assert "luminance" in STATISTICS
        entry = Statistic("brightest", brightest, columns, 99, version)
        monkeypatch.setitem(STATISTICS._entries, "brightest", entry)
        stimuli = [column for column in TABLES["stimuli"] if column.name != "brightest"]
        monkeypatch.setitem(TABLES, "stimuli", (*stimuli, *columns))

    return register


def test_a_new_statistic_is_measured_on_the_files_and_keeps_the_images(as_finished, tmp_path, statistic):
    before, text = file_times(as_finished), (as_finished.path / "stimuli.csv").read_text()
    statistic()
    notes = []

    class Listening(Progress):
        def note(self, text):
            notes.append(text)

    result = run(tiny(tmp_path), progress=Listening(quiet=True))
    assert (result.made, result.kept) == (0, 7)
    assert any("7 stimuli measured again" in note for note in notes)
    assert file_times(as_finished) == before
    table = pd.read_csv(as_finished.path / "stimuli.csv", index_col="stimulus_id")
    for name in IDS:
        level = np.asarray(Pillow.open(as_finished.png(name))).max()
        assert table["brightest"][name] == pytest.approx(level / 255, rel=1e-6)
        assert as_finished.read_record(name).measured_with["brightest"] == 1
    lines = (as_finished.path / "stimuli.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == text.splitlines()


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
