from __future__ import annotations

import hashlib

import numpy as np
import pytest
from example_run import CROP_PX, make_run, oddity_list, read_csv, two_interval_list, write_csv
from PIL import Image

from experiments.shared.errors import ExperimentError
from experiments.shared.trial_list import read_trial_list


@pytest.fixture
def run_folder(tmp_path):
    return make_run(tmp_path / "results" / "example")


def changed(path, number, **cells):
    """Change cells of a trial; return the problem that reading names."""
    rows = read_csv(path)
    rows[number - 1] |= cells
    write_csv(path, rows)
    with pytest.raises(ExperimentError) as error:
        read_trial_list(path, path.stem)
    return error.value.problem


def test_a_list_is_read_as_it_is(run_folder):
    path = oddity_list(run_folder)
    found = read_trial_list(path, "oddity")
    assert found.sha256 == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert (found.ppd, found.run_folder) == (20, run_folder)
    for row, trial in zip(read_csv(path), found.trials, strict=True):
        assert dict(trial.row) == row
        assert trial.number == int(row["trial"])
        assert trial.break_before == (trial.number in (6, 11))
        assert trial.keys == ("left", "right", "down")
        for place in ("left", "right", "bottom"):
            patch = trial.patches[place]
            assert patch.file.resolve() == run_folder / "stimuli" / f"{row[f'{place}_id']}.png"
            assert (patch.x, patch.y, patch.side) == (int(row[f"{place}_x"]), int(row[f"{place}_y"]), CROP_PX)


@pytest.mark.parametrize(
    ("task", "keys"), [("which_is_original", ("left", "right")), ("same_different", ("s", "d"))]
)
def test_the_keys_of_two_intervals_are_those_of_the_task(run_folder, task, keys):
    found = read_trial_list(two_interval_list(run_folder, task), "two_interval")
    assert {trial.keys for trial in found.trials} == {keys}
    assert {trial.isi_s for trial in found.trials} == {0.5}


def test_durations_may_be_all_that_a_list_may_have(run_folder):
    path = two_interval_list(run_folder)
    durations = {"presentation_s": "3600", "interval_s": "0", "isi_s": "0.0"}
    write_csv(path, [row | durations for row in read_csv(path)])
    trial = read_trial_list(path, "two_interval").trials[0]
    assert (trial.presentation_s, trial.interval_s, trial.isi_s) == (3600, 0, 0)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"correct_key": "bottom"}, "oddity.csv:4: correct_key is 'bottom'"),
        ({"design": "rating"}, "oddity.csv: the design is 'rating', and this experiment shows 'oddity'."),
        ({"presentation_s": "0"}, "oddity.csv:4: presentation_s must be above 0"),
        ({"presentation_s": "nan"}, "oddity.csv:4: presentation_s must be above 0"),
        ({"presentation_s": "3600.1"}, "oddity.csv:4: presentation_s must be above 0 and at most 3600 s"),
        ({"interval_s": "-0.1"}, "oddity.csv:4: interval_s must be 0 or more and at most 3600 seconds"),
        ({"interval_s": "nan"}, "oddity.csv:4: interval_s must be 0 or more"),
        ({"left_x": "1.5"}, "oddity.csv:4: invalid literal"),
        ({"crop_px": "0"}, "oddity.csv:4: crop_px must be above 0"),
        ({"break_before": ""}, "oddity.csv:4: break_before must be 0 or 1"),
        ({"trial": "4"}, "must count 1, 2, 3"),
        ({"ppd": "30"}, "ppd must be the same"),
        ({"left_x": "29"}, "20 px from (29, "),
        ({"left_y": "-1"}, "are not inside 48 × 48 px"),
        ({"left_file": "../stimuli/none.png"}, "there is no such file"),
        ({"left_sha256": "sha256:00"}, "the file has changed since"),
    ],
)
def test_what_is_wrong_is_said(run_folder, cells, problem):
    assert problem in changed(oddity_list(run_folder), 3, **cells)


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P", "LA", "1"])
def test_images_that_are_not_8_bit_grey_or_rgb_are_refused(run_folder, mode):
    path = oddity_list(run_folder)
    file = run_folder / "stimuli" / "brick-far.png"
    image = Image.fromarray(np.zeros((48, 48), np.uint16)) if mode == "I;16" else Image.new(mode, (48, 48))
    image.save(file)
    with pytest.raises(ExperimentError, match="not an 8-bit PNG in grey or RGB"):
        read_trial_list(path, "oddity")


def test_another_format_under_the_name_is_refused(run_folder):
    path = oddity_list(run_folder)
    Image.new("L", (48, 48)).save(run_folder / "stimuli" / "brick-far.png", format="JPEG")
    with pytest.raises(ExperimentError, match="is JPEG L"):
        read_trial_list(path, "oddity")


def test_an_image_with_another_extension_does_not_take_the_place(run_folder):
    path = oddity_list(run_folder)
    file = run_folder / "stimuli" / "brick-far.png"
    file.rename(file.with_suffix(".jpg"))
    with pytest.raises(ExperimentError, match="there is no such file"):
        read_trial_list(path, "oddity")


def test_missing_columns_rows_and_files_are_said(run_folder, tmp_path):
    path = oddity_list(run_folder)
    write_csv(path, [{k: v for k, v in row.items() if k != "left_y"} for row in read_csv(path)])
    with pytest.raises(ExperimentError, match=r"oddity.csv: there is no column 'left_y'\."):
        read_trial_list(path, "oddity")
    path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(ExperimentError, match="there are no trials"):
        read_trial_list(path, "oddity")
    path.write_bytes(b"")
    with pytest.raises(ExperimentError, match="is no trial list"):
        read_trial_list(path, "oddity")
    with pytest.raises(ExperimentError, match="cannot be read"):
        read_trial_list(tmp_path / "none.csv", "oddity")


def test_a_row_with_too_few_cells_is_refused(run_folder):
    path = oddity_list(run_folder)
    lines = path.read_text("utf-8").splitlines()
    lines[2] = lines[2].rpartition(",")[0]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(ExperimentError, match=r"oddity.csv:3: the row has more or fewer cells"):
        read_trial_list(path, "oddity")


def test_a_text_with_many_problems_names_ten(run_folder):
    path = oddity_list(run_folder)
    write_csv(path, [row | {"correct_key": "up"} for row in read_csv(path)])
    with pytest.raises(ExperimentError) as error:
        read_trial_list(path, "oddity")
    assert error.value.problem.endswith("and 2 more")


def error_of(path, design="oddity"):
    with pytest.raises(ExperimentError) as error:
        read_trial_list(path, design)
    return error.value


def test_each_cause_has_its_own_cure(run_folder, tmp_path):
    path = oddity_list(run_folder)
    away = tmp_path / "oddity.csv"
    away.write_bytes(path.read_bytes())
    moved = error_of(away)
    assert "none of its 4 images is there" in moved.problem
    assert len(moved.problem.splitlines()) == 1
    assert "same places relative to each other" in moved.cure
    (run_folder / "stimuli" / "brick-far.png").rename(tmp_path / "brick-far.png")
    missing = error_of(path)
    assert (missing.problem.count("there is no such file"), missing.cure[:15]) == (1, "Copy the image ")
    (tmp_path / "brick-far.png").rename(run_folder / "stimuli" / "brick-far.png")
    Image.new("L", (48, 48)).save(run_folder / "stimuli" / "brick-near.png")
    assert error_of(path).cure.startswith("Copy the run's own image again")


def test_a_list_of_another_design_is_said_once_with_its_experiment(run_folder):
    other = error_of(two_interval_list(run_folder))
    assert len(other.problem.splitlines()) == 1
    assert "experiments/two_interval/two_interval.py" in other.cure
    path = oddity_list(run_folder)
    write_csv(path, [row | {"design": "morph"} for row in read_csv(path)])
    assert "a script of your own" in error_of(path).cure


def test_what_a_spreadsheet_saved_and_what_is_no_list_are_told_apart(run_folder):
    path = oddity_list(run_folder)
    original = path.read_text("utf-8")
    for changed_text in (original.replace(",", ";"), original.replace(",0.2,", ",00:12,")):
        assert changed_text != original
        path.write_text(changed_text, "utf-8")
        assert error_of(path).cure.startswith("Use the file as stimgen trials wrote it")
    table = error_of(run_folder / "stimuli.csv")
    assert "is no trial list" in table.problem
    assert table.cure.startswith("Name a trial list")
