"""The command `stimgen figure`: where files go, what is reported, and runs that are damaged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image as Pillow
from small_runs import copied
from typer.testing import CliRunner

from stimgen.cli import app


@pytest.fixture
def folder(small, tmp_path):
    """A run of 14 stimuli."""
    shutil.copytree(small, tmp_path / "small")
    return tmp_path / "small"


def stimgen(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")


def test_a_figure_goes_into_the_run_folder(folder):
    done = stimgen("figure", folder)
    assert done.exit_code == 0, done.stderr
    path = folder / "figures" / "condition-by-source.png"
    assert done.stderr == f"8 stimuli, seed 1. Figure: {path}\n"
    with Pillow.open(path) as image:
        assert image.format == "PNG"
        assert image.text["Run"] == "small"
        assert "brick-pool1-s1" in image.text["Stimuli"]
    before = path.read_bytes()
    assert stimgen("figure", folder).exit_code == 0
    assert path.read_bytes() == before


def test_options_reach_the_figure(folder, tmp_path):
    out = tmp_path / "depth.png"
    done = stimgen(
        "figure", folder, "--rows", "seed", "--columns", "condition", "--select", "condition=pool1,conv1_1",
        "--select", "source=grass", "--label", "pool1=deeper", "--annotate", "loss", "--cell-px", 16,
        "--out", out,
    )  # fmt: skip
    assert done.stderr == f"4 stimuli, source grass. Figure: {out}\n"
    with Pillow.open(out) as image:
        assert (image.text["Rows"], image.text["Columns"]) == ("seed", "condition")
        assert (image.text["Fixed"], image.text["Annotation"]) == ("source=grass", "loss")
        assert image.text["Resampling"].startswith("Lanczos")
        cells = json.loads(image.text["Stimuli"])
    assert [(cell["row"], cell["column"], cell["stimulus_id"]) for cell in cells] == [
        (seed, name, f"grass-{name}-s{seed}") for seed in ("1", "2") for name in ("pool1", "conv1_1")
    ]


def test_several_runs_need_a_file(folder, made, tmp_path):
    other = made(name="other", layer_sets={"deep": ["pool1"]}, controls=["original"])
    other = copied(other, tmp_path / "other", keep=2)
    done = stimgen("figure", folder, other)
    assert done.exit_code == 2
    assert "--out" in done.stderr
    done = stimgen("figure", folder, other, "--out", tmp_path / "both.png")
    assert done.stderr.startswith("9 stimuli, seed 1, empty cells: 1.")


@pytest.mark.parametrize("name", ["a.tif", "a", "nowhere/a.png", "small/stimuli/brick-pool1-s1.png"])
def test_a_file_that_cannot_be_written_there_is_refused(folder, tmp_path, name):
    before = (folder / "stimuli" / "brick-pool1-s1.png").read_bytes()
    done = stimgen("figure", folder, "--out", tmp_path / name)
    assert done.exit_code == 2
    assert re.search("Name a file that ends in .png|Make the folder, or|Choose another folder", done.stderr)
    assert (folder / "stimuli" / "brick-pool1-s1.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "begins", "width", "letters"),
    [
        (["--format", "png", "--width", "double"], b"\x89PNG", "183", "7"),
        (["--out", "{folder}/A.PDF", "--font-pt", "6.5"], b"%PDF-", "89", "6.5"),
        (["--format", "svg", "--width-mm", "80"], b"<?xml version=", "80", "7"),
    ],
)
def test_a_figure_on_paper_states_its_size(folder, arguments, begins, width, letters):
    words = [word.format(folder=folder) for word in arguments]
    done = stimgen("figure", folder, *words)
    first, size, advice = done.stderr.splitlines()
    pattern = rf"{width} × [0-9.]+ mm, letters {letters} pt \(.+\), stimuli [0-9]+ ppi\."
    assert re.fullmatch(pattern, size)
    assert advice.endswith("stimuli of 32 px have that up to 2.7 mm a side.")
    path = folder.joinpath(first.partition("Figure: ")[2])
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "tiff"], 'unknown format "tiff"'),
        (["--format", "pdf", "--out", "a.svg"], "no pdf file"),
        (["--width", "column"], 'width "column"(.|\n)*single'),
        (["--width", "10"], "20 to 2000 mm"),
        (["--width", "nan"], "20 to 2000 mm"),
        (["--width", "20", "--columns", "condition", "--rows", "source"], "20 mm are too narrow"),
        (["--label", "pool4"], 'no "="'),
        (["--label", "a=1", "--label", "a=2"], "two labels"),
        (["--dpi", "600"], "--dpi needs a width"),
        (["--font-pt", "8"], "--font-pt needs a width"),
        (["--font-pt", "nan", "--format", "svg"], "Error"),
        (["--dpi", "600", "--format", "svg"], "--dpi is for PNG"),
    ],
)
def test_wrong_options_are_refused(folder, options, message):
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("stimuli.csv", None, "stimuli.csv cannot be read"),
        ("stimuli.csv", b"\xff\xfe", "stimuli.csv cannot be read"),
        ("stimuli.json", b"[1]", "not a data dictionary"),
        ("manifest.resolved.yaml", None, "There is no manifest.resolved.yaml"),
        ("manifest.resolved.yaml", b"- 1", "not a resolved manifest"),
        ("manifest.resolved.yaml", b"{", "not a resolved manifest"),
        ("manifest.resolved.yaml", b"layer_sets: {}\nseeds: [1]\nsources: [brick]\n", "not a resolved"),
        ("stimuli/brick-original.png", b"another", "is not the file that stimuli.csv describes"),
    ],
)
def test_a_damaged_run_is_an_error(folder, name, content, message):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    done = stimgen("figure", folder, "--annotate", "gram_relative_pool1")
    assert done.exit_code == 2
    assert message in done.stderr
    assert re.search("[Rr]un (stimgen run|the manifest)", done.stderr)


def test_a_figure_needs_no_torch_and_options_no_matplotlib(folder):
    script = (
        "import sys\nfrom stimgen.cli import app\n"
        "try:\n    app()\n"
        "finally:\n    print([m for m in ('torch', 'skimage', 'plotly', 'matplotlib') if m in sys.modules])\n"
    )
    for option, loaded in (("--annotate=ppd", "['matplotlib']\n"), ("--help", "[]\n")):
        command = [sys.executable, "-c", script, "figure", str(folder), option]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.endswith(loaded)
