from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from run_folders import noise, write_run

from stimgen.errors import InputError
from stimgen.report import figure as figure_module
from stimgen.report import labels
from stimgen.report.captions import parse_labels, two_digits
from stimgen.report.figure import draw_figure
from stimgen.report.finished import read_run
from stimgen.report.grid import make_grid
from stimgen.report.labels import find_typeface, normalised
from stimgen.report.shown import FRAME_GREY


def cut(figure, place):
    return figure.pixels[place.top : place.top + place.height, place.left : place.left + place.width]


def assert_nothing_overlaps(figure, *, readable=True):
    """Labels and cells are inside the figure, apart from each other, and all ink is in them."""
    height, width = figure.pixels.shape[:2]
    covered = np.zeros((height, width), dtype=int)
    for place in (*figure.cells.values(), *figure.labels):
        assert 0 <= place.left < place.left + place.width <= width
        assert 0 <= place.top < place.top + place.height <= height
        covered[place.top : place.top + place.height, place.left : place.left + place.width] += 1
    assert covered.max() == 1
    ink = figure.pixels.reshape(height, width, -1).min(axis=2) < 255
    assert not (ink & (covered == 0)).any()
    for place in figure.labels:
        # A lone ` in the smallest letters has no darker pixel than 165.
        assert not readable or (cut(figure, place) < 176).any()


@pytest.mark.parametrize(
    ("rows", "columns"), list(itertools.permutations(["condition", "source", "seed"], 2))
)
def test_every_cell_has_the_pixels_of_its_stimulus(tiny, rows, columns):
    grid = make_grid([tiny], rows=rows, columns=columns)
    figure = draw_figure(grid, annotate="ppd")
    assert figure.pixels.dtype == np.uint8
    assert figure.pixels.ndim == 2
    for place, cell in grid.cells.items():
        np.testing.assert_array_equal(cut(figure, figure.cells[place]), noise(cell.stimulus_id, 32))
    assert figure.text["Resampling"] == "none"
    assert_nothing_overlaps(figure)


def test_rows_and_columns_are_in_order_with_labels_beside_and_above(tiny):
    figure = draw_figure(make_grid([tiny]))
    places = figure.cells
    tops = [places[condition, "brick"].top for condition in ("original", "pool1", "pool2", "scrambled")]
    assert tops == sorted(set(tops))
    assert places["pool1", "brick"].left < places["pool1", "grass"].left
    above = [at for at in figure.labels if at.top + at.height <= tops[0]]
    beside = [at for at in figure.labels if at.left + at.width <= places["pool1", "brick"].left]
    assert (len(above), len(beside), len(figure.labels)) == (2, 4, 6)


def test_a_cell_without_a_stimulus_has_a_grey_frame(tmp_path):
    run = read_run(write_run(tmp_path / "run", failed=("brick-pool1-s1",)))
    figure = draw_figure(make_grid([run]), annotate="ppd")
    empty = cut(figure, figure.cells["pool1", "brick"]).copy()
    assert set(empty[[0, -1]].ravel()) == set(empty[:, [0, -1]].ravel()) == {FRAME_GREY}
    assert (empty[1:-1, 1:-1] == 255).all()
    assert_nothing_overlaps(figure)


def test_grey_and_coloured_stimuli_keep_their_values_in_one_figure(tmp_path, tiny):
    rgb = read_run(
        write_run(
            tmp_path / "rgb",
            name="rgb",
            layer_sets=("pool3",),
            controls=(),
            colour=True,
            failed=("grass-pool3-s1",),
        )
    )
    figure = draw_figure(make_grid([tiny, rgb]))
    grey = noise("brick-pool1-s1", 32)
    np.testing.assert_array_equal(
        cut(figure, figure.cells["pool1", "brick"]), np.repeat(grey[..., None], 3, axis=2)
    )
    np.testing.assert_array_equal(
        cut(figure, figure.cells["pool3", "brick"]), noise("brick-pool3-s1", 32, colour=True)
    )
    assert (cut(figure, figure.cells["pool3", "grass"])[0] == FRAME_GREY).all()
    assert figure.text["Run"] == "tiny, rgb"


def test_stimuli_are_resized_only_on_request_by_lanczos(tiny):
    grid = make_grid([tiny])
    figure = draw_figure(grid, cell_px=20)
    shown = cut(figure, figure.cells["pool1", "brick"])
    stimulus = Pillow.fromarray(noise("brick-pool1-s1", 32))
    np.testing.assert_array_equal(shown, stimulus.resize((20, 20), Pillow.Resampling.LANCZOS))
    assert figure.text["Resampling"] == "Lanczos, from 32 px to 20 px a side"
    assert_nothing_overlaps(figure)
    same = draw_figure(grid, cell_px=32)
    np.testing.assert_array_equal(same.pixels, draw_figure(grid).pixels)
    assert same.text["Resampling"] == "none"


def test_runs_of_different_sizes_need_a_common_one(tmp_path, tiny):
    other = read_run(write_run(tmp_path / "other", layer_sets=("pool3",), controls=(), side=48))
    grid = make_grid([tiny, other])
    with pytest.raises(InputError, match=r"32 px a side, those in .* 48 px.*\n.*--cell-px"):
        draw_figure(grid)
    figure = draw_figure(grid, cell_px=32)
    np.testing.assert_array_equal(cut(figure, figure.cells["pool1", "brick"]), noise("brick-pool1-s1", 32))
    assert figure.text["Resampling"] == "Lanczos, from 48 px to 32 px a side"


def test_the_text_says_what_is_shown(tiny):
    grid = make_grid([tiny], rows="source", columns="condition", select={"seed": ("2",)})
    text = draw_figure(grid, annotate="loss").text
    assert (text["Rows"], text["Columns"], text["Fixed"]) == ("source", "condition", "seed=2")
    assert text["Annotation"] == "loss"
    stimuli = json.loads(text["Stimuli"])
    table = {row["stimulus_id"]: row["png_sha256"] for row in tiny.rows}
    assert len(stimuli) == 8
    for entry in stimuli:
        assert table[entry["stimulus_id"]] == f"sha256:{entry['png_sha256']}"
        assert grid.cells[entry["row"], entry["column"]].stimulus_id == entry["stimulus_id"]


def test_labels_replace_names(tiny):
    grid = make_grid([tiny])
    plain, same = draw_figure(grid), draw_figure(grid, labels={"pool1": "pool1"})
    other = draw_figure(grid, labels={"pool1": "pool1, 177k parameters", "brick": ""})
    np.testing.assert_array_equal(plain.pixels, same.pixels)
    assert len(other.labels) == len(plain.labels) - 1
    assert_nothing_overlaps(other)


def test_a_label_taller_than_a_stimulus_moves_the_rows_apart(tiny):
    figure = draw_figure(make_grid([tiny]), labels={"original": "many words " * 20})
    tops = [figure.cells[row, "brick"].top for row in ("original", "pool1", "pool2")]
    assert tops[1] - tops[0] == tops[2] - tops[1] > 5 * 32
    assert_nothing_overlaps(figure)


def test_a_letter_wider_than_a_stimulus_moves_the_columns_apart(tiny, monkeypatch):
    monkeypatch.setattr(labels, "SMALLEST_FONT_PX", 60)
    figure = draw_figure(make_grid([tiny]), labels={"brick": "MW", "grass": "WM"})
    assert figure.cells["pool1", "grass"].left - figure.cells["pool1", "brick"].left > 50
    assert_nothing_overlaps(figure)


def test_annotations_stand_below_the_stimuli_that_have_a_value(tiny):
    plain, noted = draw_figure(make_grid([tiny])), draw_figure(make_grid([tiny]), annotate="loss")
    assert len(noted.labels) == len(plain.labels) + 6  # the original has no loss
    for (condition, _), place in noted.cells.items():
        below = [
            at
            for at in noted.labels
            if at.left >= place.left
            and 0 <= at.top - place.top - place.height < 10
            and at.left < place.left + 32
        ]
        assert len(below) == (condition != "original")
    assert_nothing_overlaps(noted)


def test_units_make_annotations_longer(tiny):
    with_unit = draw_figure(make_grid([tiny]), annotate="ppd", cell_px=200)
    widths = {at.width for at in with_unit.labels}
    (tiny.folder / "stimuli.json").unlink()
    blank = read_run(tiny.folder)
    without = {at.width for at in draw_figure(make_grid([blank]), annotate="ppd", cell_px=200).labels}
    assert len(widths - without) == len(without - widths) == 1
    assert (widths - without).pop() > (without - widths).pop()


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("0", "0"), ("-3", "-3"), ("12345", "12345"), ("0.0", "0"), ("0.05", "0.050"), ("1.0", "1.0"),
        ("0.996", "1.0"), ("9.96", "10"), ("99.6", "100"), ("-134.2", "-130"), ("123456.7", "120000"),
        ("1234567.8", "1.2e+06"), ("0.00012", "0.00012"), ("1e-9", "1.0e-09"), ("inf", "inf"),
    ],
)  # fmt: skip
def test_two_digits(cell, text):
    assert two_digits(cell) == text


@given(st.floats(-1e12, 1e12))
def test_two_digits_are_within_five_percent(value):
    assert float(two_digits(repr(value))) == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"annotate": "los"}, 'no column "los".*\n.*Did you mean "loss"'),
        ({"annotate": "preset"}, 'preset holds "multiscale v1", which is not a number'),
        ({"labels": {"pool9": "x"}}, 'called "pool9".*\n.*Known: original, pool1'),
        ({"labels": {"pool1": "\U000e0fff"}}, "U.E0FFF"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_with_a_cure(tiny, arguments, message):
    with pytest.raises(InputError, match=message):
        draw_figure(make_grid([tiny]), **arguments)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b"x")])
def test_a_missing_or_altered_stimulus_is_an_error_with_a_cure(tiny, change):
    change(tiny.folder / "stimuli" / "grass-pool2-s1.png")
    with pytest.raises(
        InputError, match=r"grass-pool2-s1\.png (cannot be read|is not the file)(.|\n)*stimgen run"
    ):
        draw_figure(make_grid([tiny]))
    draw_figure(make_grid([tiny], select={"seed": ("2",)}))


def test_a_figure_that_is_too_large_is_an_error(tiny, monkeypatch):
    monkeypatch.setattr(figure_module, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match=r"1000 are the limit.*\n.*--select"):
        draw_figure(make_grid([tiny]))


def test_labels_on_the_command_line():
    assert parse_labels(["pool4=a=b, c", "x="]) == {"pool4": "a=b, c", "x": ""}
    with pytest.raises(InputError, match='no "="'):
        parse_labels(["pool4"])
    with pytest.raises(InputError, match="two labels"):
        parse_labels(["a=1", "a=2"])


@pytest.fixture(scope="module")
def grid():
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", layer_sets=("pool1",), controls=("original",), side=24)
        yield make_grid([read_run(run)])


LETTERS = st.characters(min_codepoint=32, max_codepoint=126)
ANY = st.characters(codec="utf-8")


@settings(deadline=None, max_examples=40)
@given(
    row=st.text(LETTERS, max_size=80),
    column=st.text(LETTERS, max_size=80),
    cell_px=st.none() | st.integers(16, 64),
)
def test_any_label_is_inside_the_figure_and_apart_from_others(grid, row, column, cell_px):
    figure = draw_figure(grid, labels={"pool1": row, "grass": column}, annotate="ppd", cell_px=cell_px)
    assert_nothing_overlaps(figure)
    assert {(at.width, at.height) for at in figure.cells.values()} == {(cell_px or 24,) * 2}


@settings(deadline=None, max_examples=15)
@given(text=st.text(ANY, max_size=12))
def test_a_label_of_any_characters_is_drawn_or_refused_by_name(grid, text):
    both = {"pool1": text, "grass": text}
    try:
        find_typeface([normalised(text)])
    except InputError:
        with pytest.raises(InputError, match=r"U\+"):
            draw_figure(grid, labels=both)
        return
    figure = draw_figure(grid, labels=both)
    assert_nothing_overlaps(figure, readable=False)
    assert len(figure.labels) == (2 if not text.strip() else 4)
