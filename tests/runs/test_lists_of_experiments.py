"""The experiments read the trial lists of a run, whose format they know from its columns alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from run_manifests import stimgen

from experiments.shared.aperture import aperture, windowed
from experiments.shared.observer import stimulus_values
from experiments.shared.trial_list import read_trial_list
from stimgen.images.png import decode_png


@pytest.mark.parametrize(
    ("design", "settings"),
    [
        ("oddity", ["crop_px=16"]),
        ("two_interval", []),
        ("two_interval", ["task=same_different", "crop_px=8"]),
    ],
)
def test_the_experiments_read_what_stimgen_writes(finished, tmp_path, design, settings):
    options = [word for setting in [*settings, "min_source_gap=0"] for word in ("--set", setting)]
    out = tmp_path / "lists" / "list.csv"
    done = stimgen("trials", finished.path, "--design", design, *options, "--out", out)
    assert done.exit_code == 0, done.output
    found = read_trial_list(out, design)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [dict(trial.row) for trial in found.trials] == rows
    assert found.run_folder == finished.path.resolve()
    for trial in found.trials:
        for place, patch in trial.patches.items():
            shown = windowed(patch, aperture(patch.side, "square", 0), 128)
            x, y = int(trial.row[f"{place}_x"]), int(trial.row[f"{place}_y"])
            whole = decode_png(finished.path / "stimuli" / f"{patch.stimulus_id}.png")
            part = whole[y : y + patch.side, x : x + patch.side]
            np.testing.assert_array_equal(shown, np.rint(255 * part))
    judged = {trial.stimulus_id for trial in found.trials}
    values = stimulus_values(found.run_folder / "stimuli.csv", "gram_relative_pool1", found.trials)
    assert set(values) == judged
