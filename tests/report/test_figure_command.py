"""The command `stimgen figure`: where files go, what is said, and a run of the real runner."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image as Pillow
from run_folders import write_run
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.manifest.load import load_manifest
from stimgen.runs.runner import run

MANIFEST = {
    "stimgen": 1,
    "name": "controls",
    "image": {"size_px": 32},
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "grass", "image": "skimage:grass"}],
    "network": {"name": "vgg16", "normalise": False},
    "seeds": [1, 2],
    "controls": ["phase_scrambled", "original"],
}


def stimgen(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")


def test_a_figure_goes_into_the_run_folder_and_says_so(folder):
    done = stimgen("figure", folder)
    assert done.exit_code == 0
    path = folder / "figures" / "condition-by-source.png"
    assert done.stderr == f"8 stimuli, seed 1. Figure: {path}\n"
    with Pillow.open(path) as image:
        assert image.format == "PNG"
        assert image.text["Run"] == "tiny"
        assert "brick-pool1-s1" in image.text["Stimuli"]
    before = path.read_bytes()
    assert stimgen("figure", folder).exit_code == 0
    assert path.read_bytes() == before


def test_options_reach_the_figure(folder, tmp_path):
    out = tmp_path / "depth.png"
    done = stimgen(
        "figure", folder, "--rows", "seed", "--columns", "condition", "--select", "condition=pool2,pool1",
        "--select", "source=grass", "--label", "pool2=deeper", "--annotate", "loss", "--cell-px", 16,
        "--out", out,
    )  # fmt: skip
    assert done.stderr == f"4 stimuli, source grass. Figure: {out}\n"
    with Pillow.open(out) as image:
        assert image.text["Rows"] == "seed"
        assert image.text["Resampling"].startswith("Lanczos")
        assert image.text["Annotation"] == "loss"


def test_empty_cells_are_counted(tmp_path):
    folder = write_run(tmp_path / "run", failed=("brick-pool1-s1",))
    assert "7 stimuli, seed 1, empty cells: 1." in stimgen("figure", folder).stderr


def test_several_runs_need_a_file(folder, tmp_path):
    other = write_run(tmp_path / "other", layer_sets=("pool3",), controls=())
    done = stimgen("figure", folder, other)
    assert done.exit_code == 2
    assert "--out" in done.stderr
    assert stimgen("figure", folder, other, "--out", tmp_path / "both.png").exit_code == 0


@pytest.mark.parametrize("name", ["a.pdf", "a", "nowhere/a.png", "tiny/stimuli/brick-pool1-s1.png"])
def test_a_file_that_cannot_be_is_refused(folder, tmp_path, name):
    before = (folder / "stimuli" / "brick-pool1-s1.png").read_bytes()
    done = stimgen("figure", folder, "--out", tmp_path / name)
    assert done.exit_code == 2
    assert re.search("Name a file that ends in .png|Choose another folder", done.stderr)
    assert (folder / "stimuli" / "brick-pool1-s1.png").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(folder):
    (folder / "figures").write_text("a file")
    done = stimgen("figure", folder)
    assert done.exit_code == 4
    assert "figures" in done.stderr
    assert "--out" in done.stderr


def test_drawing_needs_no_torch(folder):
    script = (
        "import sys\nfrom stimgen.cli import app\n"
        "try:\n    app()\n"
        "finally:\n    print([m for m in ('torch', 'pandas', 'scipy', 'skimage') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "figure", str(folder)],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_a_run_of_the_runner_is_drawn_and_goes_on_beside_its_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "manifests" / "controls.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(MANIFEST, sort_keys=False), encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        made = run(load_manifest(path), device="cpu")
        options = ("--columns", "seed", "--select", "source=grass", "--annotate", "luminance_mean")
        done = stimgen("figure", made.folder, *options)
        again = run(load_manifest(path), device="cpu")
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.stderr
    assert (again.made, again.kept, again.strangers) == (0, 6, ())
    with Pillow.open(made.folder / "figures" / "condition-by-seed.png") as image:
        figure = np.asarray(image)
    with Pillow.open(made.folder / "stimuli" / "grass-phase_scrambled-s2.png") as image:
        stimulus = np.asarray(image)
    # The rows are original and phase_scrambled, whose last column is the last seed.
    windows = np.lib.stride_tricks.sliding_window_view(figure, (32, 32))
    found = np.argwhere((windows == stimulus).all(axis=(2, 3)))
    assert len(found) == 1
    assert found[0][0] > figure.shape[0] // 2
    assert found[0][1] > figure.shape[1] // 2
