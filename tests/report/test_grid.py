"""Which stimuli a figure shows, and where."""

from __future__ import annotations

import re

import pytest
from small_runs import noise_run

from stimgen.errors import InputError
from stimgen.report.figure import make_grid, parse_select


def ids(grid):
    return {place: cell.stimulus_id for place, cell in grid.cells.items()}


def test_default_shows_conditions_by_sources_with_first_seed(tiny):
    grid = make_grid([tiny])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled")
    assert grid.columns == ("brick", "grass")
    assert (grid.fixed_key, grid.fixed) == ("seed", "1")
    assert ids(grid) == {
        (condition, source): f"{source}-{condition}" + ("" if condition == "original" else "-s1")
        for condition in grid.rows
        for source in grid.columns
    }


def test_control_without_seed_fills_all_seeds(tiny):
    grid = make_grid([tiny], rows="condition", columns="seed")
    assert (grid.fixed_key, grid.fixed) == ("source", "brick")
    assert ids(grid)["original", "1"] == ids(grid)["original", "2"] == "brick-original"
    assert ids(grid)["pool1", "2"] == "brick-pool1-s2"
    by_source = make_grid([tiny], rows="source", columns="seed")
    assert (by_source.fixed_key, by_source.fixed) == ("condition", "pool1")  # and not the original


def test_select_gives_names_and_their_order(tiny):
    options = ["condition=phase_scrambled", "condition=pool2, original", "source=grass", "seed=2"]
    grid = make_grid([tiny], rows="source", columns="condition", select=parse_select(options))
    assert grid.columns == ("phase_scrambled", "pool2", "original")
    assert list(ids(grid).values()) == ["grass-phase_scrambled-s2", "grass-pool2-s2", "grass-original"]


def test_original_comes_first_and_unplanned_names_last(tiny):
    for control, name in zip(tiny.manifest["controls"], ("noise", "original"), strict=True):
        control["name"] = name
    assert make_grid([tiny]).rows == ("phase_scrambled", "pool1", "pool2", "original")
    del tiny.manifest["layer_sets"]["pool1"]
    assert tiny.names("condition") == ("pool2", "original", "phase_scrambled", "pool1")


def test_failed_stimuli_leave_their_cells_empty(tmp_path):
    failed = tuple(f"{source}-pool1-s{seed}" for source in ("brick", "grass") for seed in (1, 2))
    run = noise_run(tmp_path / "run", failed=failed)
    grid = make_grid([run])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled")
    assert ("pool1", "brick") not in grid.cells
    assert len(grid.cells) == 6
    with pytest.raises(InputError, match="no stimulus to show with seed 2"):
        make_grid([run], select={"seed": ("2",), "condition": ("pool1",)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": "layer"}, '--rows: unknown key "layer".*Known: condition, source, seed'),
        ({"columns": "sources"}, '--columns: unknown key "sources".*Did you mean "source"'),
        ({"columns": "condition"}, "both condition.*Choose two of"),
        ({"select": ["source=brik"]}, 'no source "brik".*Did you mean "brick"'),
        ({"select": ["seed=9"]}, 'no seed "9".*Known: 1, 2'),
        ({"select": ["seed=1,2"]}, "--select seed names 2.*Select one"),
        ({"select": ["pool1"]}, 'no "="'),
        ({"select": ["kind=texture"]}, 'unknown key "kind"'),
        ({"select": ["seed=1", "seed=1"]}, 'names "1" twice'),
    ],
)
def test_wrong_options_are_errors(tiny, arguments, message):
    with pytest.raises(InputError, match=re.compile(message, re.DOTALL)):
        make_grid([tiny], **arguments | {"select": parse_select(arguments.get("select", []))})


def test_two_runs_share_their_original(tmp_path, tiny):
    other = noise_run(tmp_path / "other", name="other", layer_sets=("pool4",), controls=("original",))
    grid = make_grid([tiny, other])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled", "pool4")
    assert len(grid.cells) == 10
    assert grid.cells["pool4", "brick"].run == other


def test_different_stimuli_of_one_name_are_errors(tmp_path, tiny):
    other = noise_run(tmp_path / "other", layer_sets=("pool2", "pool3"), controls=())
    with pytest.raises(InputError, match=r'both have a condition "pool2".*\n.*--select condition='):
        make_grid([tiny, other])
    select = {"condition": ("pool1", "pool3")}
    assert len(make_grid([tiny, other], select=select).cells) == 4
    other.table["source_sha256"] = "sha256:0"
    with pytest.raises(InputError, match='source "brick" is another file'):
        make_grid([tiny, other], select=select)
    larger = noise_run(tmp_path / "larger", layer_sets=(), controls=("original",), side=48)
    with pytest.raises(InputError, match="different images for one cell"):
        make_grid([tiny, larger])
