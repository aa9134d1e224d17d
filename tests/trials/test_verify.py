from __future__ import annotations

import pytest
from trial_checks import stimuli

from stimgen.trials import DESIGNS, make_trials
from stimgen.trials.verify import verify

AVAILABLE = stimuli(("bark", "sand", "stone"), ["pool1", "pool2"], [1, 2], size_px=64)
OPTIONS = DESIGNS["oddity"].options(crop_px=32, repeats=4)


def swap(rows, first, second):
    """Exchange two trials and leave the numbers where they are."""
    numbers = {"trial_number", "block", "break_before"}
    a, b = rows[first], rows[second]
    rows[first] = b | {key: a[key] for key in numbers}
    rows[second] = a | {key: b[key] for key in numbers}


def turn(rows, column, values):
    rows[0][column] = values[rows[0][column]]


OTHER_SEED = {
    f"{source}-{condition}-s{seed}": f"{source}-{condition}-s{3 - seed}"
    for source in AVAILABLE.sources
    for condition in ("pool1", "pool2")
    for seed in (1, 2)
}
DAMAGE = {
    "have the same source": lambda rows: swap(rows, 0, 1),
    "not numbered": lambda rows: rows.pop(0),
    "not in its block": lambda rows: rows[3].update(break_before=1),
    "leaves its image": lambda rows: rows[0].update(left_x=33),
    "overlap": lambda rows: rows[0].update(
        {f"{name}_{axis}": 0 for name in ("left", "right", "bottom") for axis in "xy"}
    ),
    "odd_is is not balanced": lambda rows: turn(
        rows, "odd_is", {"original": "stimulus", "stimulus": "original"}
    ),
    "odd_position is not balanced": lambda rows: rows[0].update(odd_position="top"),
    "not shown equally often": lambda rows: turn(rows, "stimulus_id", OTHER_SEED),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_a_broken_constraint_is_noticed(words):
    rows = [dict(row) for row in make_trials("oddity", AVAILABLE, OPTIONS).rows]
    verify(rows, AVAILABLE, OPTIONS, DESIGNS["oddity"].patches)
    DAMAGE[words](rows)
    with pytest.raises(RuntimeError, match=words):
        verify(rows, AVAILABLE, OPTIONS, DESIGNS["oddity"].patches)


def test_a_design_that_breaks_a_constraint_makes_no_list(monkeypatch):
    monkeypatch.setattr("stimgen.trials.make.in_random_order", lambda trials, gap, rng: list(trials))
    with pytest.raises(RuntimeError, match="have the same source"):
        make_trials("oddity", AVAILABLE, OPTIONS)


def test_exemplars_of_a_level_take_turns_within_each_staircase():
    """Not only in the whole list: here two staircases exchange exemplars, and the list stays even."""
    options = DESIGNS["morph"].options(
        levels={"pool1": 0.2, "pool2": 0.8}, trials_per_staircase=4, min_source_gap=0
    )
    rows = [dict(row) for row in make_trials("morph", AVAILABLE, options).rows]
    verify(rows, AVAILABLE, options, DESIGNS["morph"].patches)
    shown = {(row["label"], row["stimulus_id"]): row for row in rows}
    first, second = shown["bark_start1", "bark-pool1-s1"], shown["bark_start2", "bark-pool1-s2"]
    first["stimulus_id"], second["stimulus_id"] = second["stimulus_id"], first["stimulus_id"]
    with pytest.raises(RuntimeError, match="exemplars of bark_start1 pool1 are not shown equally often"):
        verify(rows, AVAILABLE, options, DESIGNS["morph"].patches)
