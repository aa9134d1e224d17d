from __future__ import annotations

import hashlib
import os
import shutil

import pytest
from example_run import CROP_PX, make_run, oddity_list, read_csv, two_interval_list, write_csv
from PIL import Image

from experiments.shared.errors import ExperimentError
from experiments.shared.trial_list import read_trial_list
from stimgen.trials import DESIGNS, design_columns


@pytest.fixture
def run_folder(tmp_path):
    return make_run(tmp_path / "results" / "example")


@pytest.fixture
def path(run_folder):
    return oddity_list(run_folder)


def refusal(path, design="oddity"):
    with pytest.raises(ExperimentError) as error:
        read_trial_list(path, design)
    return error.value


def change(path, number, **cells):
    """Change cells of a trial."""
    rows = read_csv(path)
    rows[number - 1] |= cells
    write_csv(path, rows)


def test_list_is_read(run_folder, path):
    found = read_trial_list(path, "oddity")
    assert found.sha256 == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert (found.ppd, found.run_folder) == (20, run_folder)
    for row, trial in zip(read_csv(path), found.trials, strict=True):
        assert dict(trial.row) == row
        assert trial.number == int(row["trial_number"])
        assert trial.break_before == (trial.number in (6, 11))
        assert trial.keys == ("left", "right", "down")
        for place in ("left", "right", "bottom"):
            patch = trial.patches[place]
            assert patch.file.resolve() == run_folder / "stimuli" / f"{row[f'{place}_id']}.png"
            assert (patch.x, patch.y, patch.side) == (int(row[f"{place}_x"]), int(row[f"{place}_y"]), CROP_PX)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"correct_key": "bottom"}, "oddity.csv:4: correct_key is 'bottom'"),
        ({"presentation_s": "0"}, "oddity.csv:4: presentation_s must be above 0"),
        ({"presentation_s": "3600.1"}, "oddity.csv:4: presentation_s must be above 0 and at most 3600 s"),
        ({"interval_s": "nan"}, "oddity.csv:4: interval_s must be 0 or more"),
        ({"left_x": "1.5"}, "oddity.csv:4: invalid literal"),
        ({"crop_px": "0"}, "oddity.csv:4: crop_px must be above 0"),
        ({"break_before": ""}, "oddity.csv:4: break_before must be 0 or 1"),
        ({"trial_number": "4"}, "must count 1, 2, 3"),
        ({"interval_s": "3601"}, "interval_s must be 0 or more and at most 3600"),
        ({"ppd": "30"}, "ppd must be the same"),
        ({"left_x": "29"}, "20 px from (29, "),
        ({"left_y": "-1"}, "are not inside 48 × 48 px"),
        ({"left_sha256": "sha256:00"}, "the file has changed since"),
    ],
)
def test_wrong_cell_is_refused(path, cells, problem):
    change(path, 3, **cells)
    assert problem in refusal(path).problem


@pytest.mark.parametrize("mode", ["1", "RGBA", "P"])
def test_image_that_is_not_grey_or_rgb_of_8_or_16_bits_is_refused(run_folder, path, mode):
    Image.new(mode, (48, 48)).save(run_folder / "stimuli" / "brick-far.png")
    assert "not a grey or RGB PNG of 8 or 16 bits" in refusal(path).problem


def test_image_of_another_format_is_refused(run_folder, path):
    image = run_folder / "stimuli" / "brick-far.png"
    Image.new("L", (48, 48)).save(image, format="JPEG")
    assert "is JPEG L" in refusal(path).problem
    image.rename(image.with_suffix(".jpg"))  # PsychoPy would show it
    assert "there is no such file" in refusal(path).problem


def test_missing_columns_rows_and_files(path, tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.csv").problem
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].rpartition(",")[0], *lines[3:], ""]), "utf-8")
    assert "oddity.csv:3: the row has more or fewer cells" in refusal(path).problem
    path.write_text(lines[0] + "\n", "utf-8")
    assert "there are no trials" in refusal(path).problem
    path.write_bytes(b"")
    assert "is no trial list" in refusal(path).problem


def test_each_cause_has_its_own_hint(run_folder, path, tmp_path):
    moved = shutil.copy(path, tmp_path / "oddity.csv")
    error = refusal(moved)
    assert "none of its 4 images is there" in error.problem
    assert len(error.problem.splitlines()) == 1
    assert "same places relative to each other" in error.cure
    far = run_folder / "stimuli" / "brick-far.png"
    far.rename(tmp_path / "brick-far.png")
    error = refusal(path)
    assert (error.problem.count("there is no such file"), error.cure[:15]) == (1, "Copy the image ")
    Image.new("L", (48, 48)).save(far)
    assert refusal(path).cure.startswith("Copy the run's own image again")
    table = refusal(run_folder / "stimuli.csv")
    assert "is no trial list" in table.problem
    assert table.cure.startswith("Name a trial list")


def test_list_of_another_design_names_its_experiment(run_folder, path):
    other = refusal(two_interval_list(run_folder))
    assert len(other.problem.splitlines()) == 1
    assert "experiments/two_interval/two_interval.py" in other.cure
    write_csv(path, [row | {"design": "morph"} for row in read_csv(path)])
    assert "a script of your own" in refusal(path).cure


@pytest.mark.parametrize(("old", "new"), [(",", ";"), (",0.2,", ",00:12,")])
def test_list_that_a_spreadsheet_has_saved_is_refused(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    assert refusal(path).cure.startswith("Use the file as stimgen trials wrote it")


def test_images_must_be_in_the_folder_of_one_run(path, tmp_path):
    rows = read_csv(path)
    other = tmp_path / "other" / "stimuli"
    other.mkdir(parents=True)
    image = path.parent / rows[0]["left_file"]
    for place in (other / image.name, image.with_suffix(".jpg")):
        shutil.copy(image, place)
        for name in (str(place), os.path.relpath(place, path.parent)):
            write_csv(path, [*rows[:-1], rows[-1] | {"bottom_file": name}])
            assert f"{name} is not in the folder stimuli of one run" in refusal(path).problem


@pytest.mark.parametrize("name", ["/etc/passwd", "../../../../etc/passwd", "", "../stimuli/\0.png"])
def test_other_files_are_not_shown(path, name):
    change(path, 1, left_file=name)
    assert refusal(path)


def test_run_may_be_a_link(path, tmp_path):
    (tmp_path / "link").symlink_to(path.parent.parent)
    assert len(read_trial_list(tmp_path / "link" / "trials" / path.name, "oddity").trials) == 12


def test_pipes_and_huge_files_are_refused(path):
    image = path.parent / read_csv(path)[0]["left_file"]
    image.unlink()
    os.mkfifo(image)
    assert "Not a regular file" in refusal(path).problem
    image.unlink()
    with image.open("wb") as file:
        file.truncate(10**12)
    assert "Larger than" in refusal(path).problem
    path.unlink()
    os.mkfifo(path)
    assert "Not a regular file" in refusal(path).problem


@pytest.mark.slow
def test_columns_are_names_that_psychopy_has_not_taken(laboratory):
    columns = {name: [column.name for column in design_columns(name)] for name in DESIGNS}
    laboratory.python(f"""
from psychopy import data, experiment

builder = experiment.Experiment()
builder.addRoutine("trial")  # which every new experiment of the Builder has
builder.namespace.add("trial")
for names in {columns!r}.values():
    taken = [name for name in names if builder.namespace.exists(name)]
    assert not taken, taken
stairs = [{{"label": "brick_start1", "startVal": 0.2}}, {{"label": "brick_start2", "startVal": 0.8}}]
assert set(stairs[0]) <= set({columns["morph"]!r})
assert next(data.MultiStairHandler(conditions=stairs, nTrials=2))[0] in (0.2, 0.8)
""")
