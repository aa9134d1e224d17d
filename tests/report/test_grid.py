from __future__ import annotations

import re

import pytest
from small_runs import noise_run

from stimgen.errors import InputError
from stimgen.report.grid import make_grid, parse_select


def ids(grid):
    return {place: cell.stimulus_id for place, cell in grid.cells.items()}


def test_by_default_rows_are_conditions_and_the_first_seed_is_shown(tiny):
    grid = make_grid([tiny])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled")
    assert grid.columns == ("brick", "grass")
    assert (grid.fixed_key, grid.fixed) == ("seed", "1")
    assert ids(grid) == {
        (condition, source): f"{source}-{condition}" + ("" if condition == "original" else "-s1")
        for condition in grid.rows
        for source in grid.columns
    }


def test_a_control_without_a_seed_fills_the_cells_of_all_seeds(tiny):
    grid = make_grid([tiny], rows="condition", columns="seed")
    assert (grid.fixed_key, grid.fixed) == ("source", "brick")
    assert ids(grid)["original", "1"] == ids(grid)["original", "2"] == "brick-original"
    assert ids(grid)["pool1", "2"] == "brick-pool1-s2"


def test_the_fixed_condition_is_the_first_layer_set_and_not_the_original(tiny):
    grid = make_grid([tiny], rows="source", columns="seed")
    assert (grid.fixed_key, grid.fixed) == ("condition", "pool1")
    assert ids(grid)["grass", "2"] == "grass-pool1-s2"


def test_select_says_what_is_shown_and_in_which_order(tiny):
    options = ["condition=phase_scrambled", "condition=pool2, original", "source=grass", "seed=2"]
    select = parse_select(options)
    grid = make_grid([tiny], rows="source", columns="condition", select=select)
    assert grid.columns == ("phase_scrambled", "pool2", "original")
    assert list(ids(grid).values()) == ["grass-phase_scrambled-s2", "grass-pool2-s2", "grass-original"]


def test_the_original_comes_first_whatever_its_name(tiny):
    for control, name in zip(tiny.manifest["controls"], ("noise", "original"), strict=True):
        control["name"] = name
    assert make_grid([tiny]).rows == ("phase_scrambled", "pool1", "pool2", "original")


def test_names_that_only_the_table_has_come_last(tiny):
    del tiny.manifest["layer_sets"]["pool1"]
    assert tiny.conditions == ("pool2", "original", "phase_scrambled", "pool1")


def test_what_failed_has_no_cell_and_keeps_its_place(tmp_path):
    failed = tuple(f"{source}-pool1-s{seed}" for source in ("brick", "grass") for seed in (1, 2))
    grid = make_grid([noise_run(tmp_path / "run", failed=failed)])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled")
    assert ("pool1", "brick") not in grid.cells
    assert len(grid.cells) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": "layer"}, '--rows: unknown key "layer".*Known: condition, source, seed'),
        ({"columns": "sources"}, '--columns: unknown key "sources".*Did you mean "source"'),
        ({"columns": "condition"}, "both condition.*Choose two of"),
        ({"select": {"source": ("brik",)}}, 'no source "brik".*Did you mean "brick"'),
        ({"select": {"seed": ("9",)}}, 'no seed "9".*Known: 1, 2'),
        ({"select": {"seed": ("1", "2")}}, "--select seed names 2.*Select one"),
    ],
)
def test_wrong_arguments_are_errors(tiny, arguments, message):
    with pytest.raises(InputError, match=re.compile(message, re.DOTALL)):
        make_grid([tiny], **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["pool1"], 'no "="'),
        (["kind=texture"], 'unknown key "kind"'),
        (["seed=1,2,1"], 'names "1" twice'),
        (["seed=1", "seed=1"], 'names "1" twice'),
    ],
)
def test_a_wrong_select_is_an_error(options, message):
    with pytest.raises(InputError, match=message):
        parse_select(options)


def test_a_figure_without_any_stimulus_is_an_error(tmp_path):
    run = noise_run(tmp_path / "run", layer_sets=("pool1",), controls=(), failed=("brick-pool1-s2",))
    with pytest.raises(InputError, match="no stimulus to show with seed 2"):
        make_grid([run], select={"seed": ("2",), "source": ("brick",)})


def test_two_runs_make_one_grid_and_share_their_original(tmp_path, tiny):
    other = noise_run(tmp_path / "other", name="other", layer_sets=("pool4",), controls=("original",))
    grid = make_grid([tiny, other])
    assert grid.rows == ("original", "pool1", "pool2", "phase_scrambled", "pool4")
    assert len(grid.cells) == 10
    assert grid.cells["pool4", "brick"].run == other


def test_conditions_of_one_name_in_two_runs_are_an_error_unless_left_out(tmp_path, tiny):
    other = noise_run(tmp_path / "other", layer_sets=("pool2", "pool3"), controls=())
    with pytest.raises(InputError, match=r'both have a condition "pool2".*\n.*--select condition='):
        make_grid([tiny, other])
    select = {"condition": ("pool1", "pool3")}
    assert len(make_grid([tiny, other], select=select).cells) == 4


def test_originals_of_one_source_that_differ_are_an_error(tmp_path, tiny):
    other = noise_run(tmp_path / "other", layer_sets=(), controls=("original",), side=48)
    with pytest.raises(InputError, match="different images for one cell"):
        make_grid([tiny, other])


def test_sources_of_one_name_from_two_files_are_an_error(tmp_path, tiny):
    other = noise_run(tmp_path / "other", layer_sets=("pool3",), controls=())
    other.table["source_sha256"] = "sha256:0"
    with pytest.raises(InputError, match='source "brick" is another file'):
        make_grid([tiny, other])
