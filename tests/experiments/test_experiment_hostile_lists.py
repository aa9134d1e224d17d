"""Trial lists that name files elsewhere, or what is no file."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
from example_run import make_run, oddity_list, read_csv, write_csv

from experiments.shared.errors import ExperimentError
from experiments.shared.trial_list import read_trial_list


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    return oddity_list(make_run(tmp_path / "run"))


def refusal(path: Path) -> str:
    with pytest.raises(ExperimentError) as caught:
        read_trial_list(path, "oddity")
    return str(caught.value)


def test_images_are_those_of_one_run(trials: Path, tmp_path: Path) -> None:
    rows = read_csv(trials)
    other = tmp_path / "other" / "stimuli"
    other.mkdir(parents=True)
    image = trials.parent / rows[0]["left_file"]
    for place in (other / image.name, tmp_path / image.name, image.with_suffix(".jpg")):
        shutil.copy(image, place)
        for named in (str(place), os.path.relpath(place, trials.parent)):
            write_csv(trials, [*rows[:-1], rows[-1] | {"bottom_file": named}])
            text = refusal(trials)
            assert named in text
            assert "is not in the folder stimuli of one run" in text


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../../etc/passwd", "", ".", "../stimuli", "../stimuli/\0.png"]
)
def test_other_files_are_not_shown(name: str, trials: Path) -> None:
    rows = read_csv(trials)
    with trials.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([rows[0] | {"left_file": name}, *rows[1:]])
    assert refusal(trials)


def test_a_linked_run_is_shown(trials: Path, tmp_path: Path) -> None:
    """The whole run may be on another disk."""
    (tmp_path / "link").symlink_to(trials.parent.parent)
    assert len(read_trial_list(tmp_path / "link" / "trials" / trials.name, "oddity").trials) == 12


def test_pipes_and_huge_files_are_not_waited_for(trials: Path) -> None:
    image = trials.parent / read_csv(trials)[0]["left_file"]
    image.unlink()
    os.mkfifo(image)
    assert "Not a regular file" in refusal(trials)
    image.unlink()
    with image.open("wb") as file:
        file.truncate(10**12)
    assert "Larger than" in refusal(trials)
    trials.unlink()
    os.mkfifo(trials)
    assert "Not a regular file" in refusal(trials)
