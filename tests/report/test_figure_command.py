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


@pytest.mark.parametrize("name", ["a.tif", "a", "nowhere/a.png", "tiny/stimuli/brick-pool1-s1.png"])
def test_a_file_that_cannot_be_is_refused(folder, tmp_path, name):
    before = (folder / "stimuli" / "brick-pool1-s1.png").read_bytes()
    done = stimgen("figure", folder, "--out", tmp_path / name)
    assert done.exit_code == 2
    assert re.search("Name a file that ends in .png|Make the folder, or|Choose another folder", done.stderr)
    assert (folder / "stimuli" / "brick-pool1-s1.png").read_bytes() == before


@pytest.mark.parametrize(
    ("ending", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF-"), ("svg", b"<?xml version='1.0'")]
)
def test_every_format_is_the_same_bytes_twice_and_says_its_size(folder, ending, begins):
    contents = []
    for _ in range(2):
        done = stimgen("figure", folder, "--format", ending, "--width", "double", "--columns", "seed")
        assert done.exit_code == 0, done.stderr
        path = folder / "figures" / f"condition-by-seed.{ending}"
        first, size, advice = done.stderr.splitlines()
        assert first == f"8 stimuli, source brick. Figure: {path}"
        assert re.fullmatch(r"183 × [0-9.]+ mm, letters 7 pt \(.+\), stimuli [0-9]+ ppi\.", size)
        assert advice.endswith("stimuli of 32 px have that up to 2.7 mm a side.")
        contents.append(path.read_bytes())
        path.unlink()
    assert contents[0] == contents[1]
    assert contents[0].startswith(begins)


def test_what_ends_in_pdf_is_one_column_wide(folder, tmp_path):
    done = stimgen("figure", folder, "--out", tmp_path / "A.PDF", "--font-pt", "6.5")
    assert "\n89 × " in done.stderr
    assert "letters 6.5 pt" in done.stderr
    assert (tmp_path / "A.PDF").read_bytes().startswith(b"%PDF-")


def test_enough_pixels_need_no_advice(tmp_path):
    folder = write_run(tmp_path / "run", layer_sets=("pool1",), controls=(), side=480)
    done = stimgen("figure", folder, "--format", "svg", "--width-mm", "80")
    assert done.stderr.splitlines()[1:] == [done.stderr.splitlines()[1]]
    assert int(re.search(r"([0-9]+) ppi", done.stderr)[1]) > 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "tiff"], 'unknown format "tiff"'),
        (["--format", "pdf", "--out", "a.svg"], "no pdf file"),
        (["--width", "column"], 'width "column"(.|\n)*single'),
        (["--width", "10"], "20 to 2000 mm"),
        (["--width", "nan"], "20 to 2000 mm"),
        (
            ["--width", "20", "--rows", "source", "--columns", "condition"],
            "20 mm are too narrow for 4 columns",
        ),
        (["--dpi", "600"], "--dpi needs a width"),
        (["--font-pt", "8"], "--font-pt needs a width"),
        (["--font-pt", "nan", "--format", "svg"], "Error"),
        (["--dpi", "600", "--format", "svg"], "--dpi is for PNG"),
    ],
)
def test_options_that_mean_nothing_are_refused(folder, options, message):
    done = stimgen("figure", folder, *options)
    assert done.exit_code == 2
    assert re.search(message, done.stderr)
    assert not (folder / "figures").exists()


def test_a_folder_that_cannot_be_made_is_named(folder):
    (folder / "figures").write_text("a file")
    done = stimgen("figure", folder)
    assert done.exit_code == 4
    assert "figures" in done.stderr
    assert "--out" in done.stderr


def test_drawing_needs_no_torch(folder):
    script = (
        "import sys\nfrom stimgen.cli import app\n"
        "slow = ('torch', 'pandas', 'scipy', 'skimage', 'fpdf', 'fontTools')\n"
        "try:\n    app()\n"
        "finally:\n    print([m for m in slow if m in sys.modules])\n"
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
    assert (again.made, again.kept, again.unplanned) == (0, 6, ())
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
