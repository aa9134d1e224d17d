"""Figures: what they show, where everything lies, and files read back by other programs."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pikepdf
import pypdfium2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image as Pillow
from small_runs import noise, noise_run

from stimgen.errors import InputError
from stimgen.report import drawing
from stimgen.report.drawing import FRAME_GREY, SMALLEST_FONT_PT, UNITS_PER_PT, arrange, encode
from stimgen.report.figure import make_grid, read_content, two_digits
from stimgen.report.labels import fit, normalised

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
DC = "{http://purl.org/dc/elements/1.1/}"
MM = 72 / 25.4
TITLE = "Stimuli of t\ufffdi\ufffdny, rgb: condition by source"


def sheet_of(grid, *, width_mm=None, font_pt=7, **options):
    return arrange(read_content(grid, **options), width_mm, font_pt)


class Drawn:
    """A figure as a PNG file, read back; `px` is how many of its pixels are a unit."""

    def __init__(self, sheet, dpi=300):
        with Pillow.open(io.BytesIO(encode(sheet, "png", dpi))) as image:
            self.pixels, self.info, self.text = np.asarray(image), image.info, image.text
        self.px = sheet.page.dpi / 72 / sheet.pt
        self.side = round(sheet.side * self.px)
        self.corners = {
            place: (int(left * self.px), int(top * self.px)) for place, (left, top) in sheet.corners.items()
        }

    def cell(self, *place):
        left, top = self.corners[place]
        return self.pixels[top : top + self.side, left : left + self.side]


def assert_nothing_overlaps(sheet):
    """Texts and cells are inside the figure and apart from each other, and all ink is in them."""
    figure = Drawn(sheet, 100)
    height, width = figure.pixels.shape[:2]
    boxes = [(left, top, figure.side, figure.side) for left, top in figure.corners.values()]
    with mpl.rc_context(drawing.SETTINGS):
        renderer = FigureCanvasAgg(sheet.page).get_renderer()
        extents = [text.get_window_extent(renderer) for text in sheet.page.axes[0].texts]
    boxes += [(round(e.x0), round(height - e.y1), round(e.width), round(e.height)) for e in extents]
    covered = np.zeros((height + 4, width + 4), dtype=int)
    near = covered.astype(bool)
    for left, top, wide, high in boxes:
        assert -1 <= left <= left + wide <= width + 1
        assert -1 <= top <= top + high <= height + 1
        covered[top + 2 : top + 2 + high, left + 2 : left + 2 + wide] += 1
        near[max(top, 0) : top + 4 + high, max(left, 0) : left + 4 + wide] = True
    assert covered.max() == 1
    ink = figure.pixels.reshape(height, width, -1).min(axis=2) < 250
    assert not (ink & ~near[2:-2, 2:-2]).any()


@pytest.fixture
def mixed(tmp_path):
    """A grid of grey stimuli, one in colour, and two empty cells; no XML can hold the name of a run."""
    grey = noise_run(tmp_path / "grey", name="t\ufffei\x07ny", failed=("grass-pool2-s1",))
    options = {"layer_sets": ("pool3",), "controls": (), "colour": True, "sources": ("brick",)}
    return make_grid([grey, noise_run(tmp_path / "rgb", name="rgb", **options)])


def pixels_of(cell):
    return noise(cell.stimulus_id, colour="pool3" in cell.stimulus_id)


def in_colour(pixels):
    return np.asarray(Pillow.fromarray(pixels).convert("RGB"))


@pytest.mark.parametrize(
    ("rows", "columns"), list(itertools.permutations(["condition", "source", "seed"], 2))
)
def test_every_cell_has_the_pixels_of_its_stimulus(tiny, rows, columns):
    grid = make_grid([tiny], rows=rows, columns=columns)
    sheet = sheet_of(grid, annotate="ppd")
    figure = Drawn(sheet)
    assert figure.pixels.ndim == 2
    for place, cell in grid.cells.items():
        np.testing.assert_array_equal(figure.cell(*place), pixels_of(cell))
    assert_nothing_overlaps(sheet)


def test_empty_cells_have_a_grey_frame_and_colours_stay_beside_grey(mixed):
    sheet = sheet_of(mixed)
    figure = Drawn(sheet)
    for place, cell in mixed.cells.items():
        np.testing.assert_array_equal(figure.cell(*place), in_colour(pixels_of(cell)))
    empty = figure.cell("pool2", "grass")
    assert (empty[[0, -1]] == FRAME_GREY).all()
    assert (empty[:, [0, -1]] == FRAME_GREY).all()
    assert (empty[1:-1, 1:-1] == 255).all()
    assert_nothing_overlaps(sheet)


def test_stimuli_are_resized_only_on_request(tiny, tmp_path):
    grid = make_grid([tiny])
    sheet = sheet_of(grid, cell_px=20)
    stimulus = Pillow.fromarray(noise("brick-pool1-s1"))
    expected = stimulus.resize((20, 20), Pillow.Resampling.LANCZOS)
    np.testing.assert_array_equal(Drawn(sheet).cell("pool1", "brick"), expected)
    assert sheet.text["Resampling"] == "Lanczos, from 32 px to 20 px a side"
    assert sheet_of(grid, cell_px=32).text["Resampling"] == "none"
    larger = noise_run(tmp_path / "other", layer_sets=("pool3",), controls=(), side=48)
    both = make_grid([tiny, larger])
    with pytest.raises(InputError, match=r"32 px a side, those in .* 48 px.*\n.*--cell-px"):
        sheet_of(both)
    np.testing.assert_array_equal(
        Drawn(sheet_of(both, cell_px=32)).cell("pool1", "brick"), noise("brick-pool1-s1")
    )


def texts_of(sheet):
    return [text.get_text() for text in sheet.page.axes[0].texts]


def test_labels_replace_names_and_annotations_have_units(tiny):
    grid = make_grid([tiny])
    sheet = sheet_of(grid, labels={"pool1": "177k", "brick": ""}, annotate="loss", cell_px=200)
    names = ["grass", "original", "177k", "pool2", "phase_scrambled"]
    assert sorted(texts_of(sheet)) == sorted([*names, *["0.050"] * 6])  # the original has no loss
    assert texts_of(sheet_of(grid, annotate="ppd", cell_px=200)).count("41 px/deg") == 8
    assert_nothing_overlaps(sheet)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-3, "-3"), (0.0, "0"), (0.05, "0.050"), (0.996, "1.0"), (9.96, "10"), (-134.2, "-130"),
        (1234567.8, "1.2e+06"), (1e-9, "1.0e-09"), (float("inf"), "inf"), (np.int64(134), "134"),
    ],
)  # fmt: skip
def test_two_digits(value, text):
    assert two_digits(value) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotate": "los"}, 'no column "los".*\n.*Did you mean "loss"'),
        ({"annotate": "preset"}, 'preset holds "multiscale v4", which is not a number'),
        ({"labels": {"pool9": "x"}}, 'called "pool9".*\n.*Known: original, pool1'),
        ({"labels": {"pool1": "\U000e0fff\x07"}}, r"\(invisible\) U\+0007, \(invisible\) U\+E0FFF"),
        ({"font": Path(__file__)}, r"--font .*test_figure\.py.*\n.*TrueType"),
        ({"font": Path("nowhere.ttf")}, r"--font nowhere\.ttf.*\n.*TrueType"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(tiny, options, message):
    with pytest.raises(InputError, match=message):
        read_content(make_grid([tiny]), **options)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b"x")])
def test_a_missing_or_altered_stimulus_is_an_error(tiny, change):
    change(tiny.folder / "stimuli" / "grass-pool2-s1.png")
    with pytest.raises(
        InputError, match=r"grass-pool2-s1\.png (cannot be read|is not the file)(.|\n)*stimgen run"
    ):
        read_content(make_grid([tiny]))
    read_content(make_grid([tiny], select={"seed": ("2",)}))


def test_a_figure_that_is_too_large_is_an_error(tiny, monkeypatch):
    content = read_content(make_grid([tiny]))
    monkeypatch.setattr(drawing, "LARGEST_HEIGHT_MM", 100.0)
    with pytest.raises(InputError, match=r"rows of stimuli would be \d+ mm high"):
        arrange(content, 2000.0)
    with pytest.raises(InputError, match="20 mm are too narrow for 4 columns"):
        sheet_of(make_grid([tiny], rows="source", columns="condition"), width_mm=20)
    monkeypatch.setattr(drawing, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match=r"1000 are the limit.*\n.*--select"):
        encode(arrange(content), "png")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A grid of four stimuli."""
    folder = tmp_path_factory.mktemp("two")
    return make_grid([noise_run(folder, layer_sets=("pool1",), controls=("original",), side=24)])


@settings(deadline=None, max_examples=40)
@example(row="many words " * 12, column="$x^2$ _", width_mm=None, font_pt=7)
@example(row="many words " * 12, column="MW" * 12, width_mm=89, font_pt=7)
@given(
    row=st.text(st.characters(codec="utf-8"), max_size=15),
    column=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    width_mm=st.none() | st.floats(40, 200),
    font_pt=st.floats(4, 12),
)
def test_any_label_is_inside_the_figure_or_refused(two, row, column, width_mm, font_pt):
    labels = {"pool1": row, "grass": column}
    try:
        sheet = sheet_of(two, width_mm=width_mm, font_pt=font_pt, labels=labels, annotate="ppd")
    except InputError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert_nothing_overlaps(sheet)
        letters = "".join("".join(texts_of(sheet)).split())
        assert "".join(column.split()) in letters
    assert not refusal or "U+" in refusal or "too narrow" in refusal


def test_letters_get_smaller_before_words_are_divided(tiny):
    grid = make_grid([tiny])

    def font_pt(**options):
        sheet = sheet_of(grid, width_mm=89, **options)
        assert_nothing_overlaps(sheet)
        return sheet.letters / UNITS_PER_PT

    assert font_pt() == 7
    assert SMALLEST_FONT_PT < font_pt(labels={"brick": "B" * 25}) < 7
    assert font_pt(labels={"brick": "B" * 60}) == SMALLEST_FONT_PT
    assert font_pt(labels={"brick": "B" * 60}, font_pt=4) == 4
    assert font_pt(font_pt=10.5) == 10.5


def test_lines_end_between_words_and_after_underscores(tiny):
    font = read_content(make_grid([tiny])).font
    texts = ["phase_scrambled twice", "a\nb", "x\u0301" * 20]
    narrow, broken, accents = fit(texts, font, 12, 70, divide=True)
    assert narrow.lines == ("phase_", "scrambled", "twice")
    assert broken.lines == ("a", "b")
    assert all(line.startswith("x") for line in accents.lines)
    assert fit(["phase_scrambled"], font, 12, 20, divide=False) is None
    assert normalised("Gro\u0308\u00dfe   x ") == "Gr\u00f6\u00dfe x"


def digest(pixels):
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def images_of(page):
    """Return the images of a PDF page with the matrices by which they are placed."""
    found, matrices = [], [pikepdf.Matrix()]
    for operands, operator in pikepdf.parse_content_stream(page):
        if str(operator) == "q":
            matrices.append(matrices[-1])
        elif str(operator) == "Q":
            matrices.pop()
        elif str(operator) == "cm":
            matrices[-1] = pikepdf.Matrix(*map(float, operands)) @ matrices[-1]
        elif str(operator) == "Do":
            found.append((page.Resources.XObject[str(operands[0])], matrices[-1]))
    return found


def test_pdf_has_every_pixel_and_no_date(mixed):
    sheet = sheet_of(mixed, width_mm=89)
    places = {}
    with pikepdf.open(io.BytesIO(encode(sheet, "pdf"))) as pdf:
        info = {key: str(value) for key, value in pdf.docinfo.items()}
        (page,) = pdf.pages
        width, height = (float(number) for number in page.MediaBox[2:])
        assert (width / MM, height / MM) == pytest.approx((89, sheet.height_mm), abs=0.01)
        for image, matrix in images_of(page):
            assert image.Filter == "/FlateDecode"
            assert not {"/Interpolate", "/SMask", "/Mask", "/Decode"} & set(image.keys())
            pixels = in_colour(np.asarray(pikepdf.PdfImage(image).as_pil_image().convert("RGB")))
            pixels = pixels[:: -1 if matrix.d < 0 else 1]
            top = height - max(matrix.f, matrix.f + matrix.d)
            places[digest(pixels)] = [matrix.e, top, matrix.a, abs(matrix.d)]
    assert len(places) == len(mixed.cells)
    side = sheet.side / sheet.pt
    for place, cell in mixed.cells.items():
        left, top = (edge / sheet.pt for edge in sheet.corners[place])
        assert places[digest(in_colour(pixels_of(cell)))] == pytest.approx([left, top, side, side], abs=0.02)
    assert info["/Title"] == TITLE
    assert info["/Creator"].startswith("stimgen ")
    assert not {"/CreationDate", "/ModDate"} & set(info)
    described = json.loads(info["/Subject"])
    assert {entry["stimulus_id"]: entry["png_sha256"] for entry in described["Stimuli"]} == {
        cell.stimulus_id: cell.png_sha256 for cell in mixed.cells.values()
    }
    assert (described["Width"], described["Letters"], described["Resampling"]) == ("89 mm", "7 pt", "none")


def test_text_of_a_pdf_can_be_selected_and_its_font_is_embedded_as_truetype(mixed):
    content = encode(
        sheet_of(mixed, width_mm=89, annotate="ppd", labels={"pool1": "AVAVA office\nfi α"}), "pdf"
    )
    text = pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range()
    words = text.split()
    assert {"original", "pool2", "pool3", "brick", "grass", "AVAVA", "office", "fi", "α"} <= set(words)
    assert words.count("px/deg") == words.count("41") == 8
    with pikepdf.open(io.BytesIO(content)) as pdf:
        descriptors = [
            entry for entry in pdf.objects if isinstance(entry, pikepdf.Dictionary) and entry.get("/FontName")
        ]
        assert descriptors
        for descriptor in descriptors:
            assert descriptor.FontFile2.read_bytes()[:4] in (b"\0\1\0\0", b"true")
            assert "+" in str(descriptor.FontName)  # a subset


def test_font_with_postscript_outlines_is_refused_in_a_pdf(tiny, monkeypatch):
    sheet = sheet_of(make_grid([tiny]), width_mm=89)
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"OTTO")
    with pytest.raises(InputError, match=r"not TrueType(.|\n)*SVG"):
        encode(sheet, "pdf")
    assert b"<text" in encode(sheet, "svg")


def test_an_svg_has_every_pixel_and_text_as_text(mixed):
    serif = font_manager.findfont("DejaVu Serif")
    sheet = sheet_of(mixed, width_mm=120.5, font_pt=8, font=Path(serif))
    root = etree.fromstring(encode(sheet, "svg"))
    assert [float(root.get(name)[:-2]) for name in ("width", "height")] == pytest.approx(
        [120.5 * MM, sheet.height_mm * MM], abs=0.001
    )
    shown = []
    for image in root.iter(f"{SVG}image"):
        start, content = image.get(HREF).split(",")
        assert start == "data:image/png;base64"
        pixels = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        # A transform turns an image that is embedded upside down.
        shown.append(digest(pixels[:: -1 if "scale(1 -1)" in image.get("transform", "") else 1]))
    assert sorted(shown) == sorted(digest(in_colour(pixels_of(cell))) for cell in mixed.cells.values())
    texts = list(root.iter(f"{SVG}text"))
    names = {"original", "pool1", "pool2", "phase_scrambled", "brick", "grass", "pool3"}
    assert {text.text for text in texts} == names
    assert all("8px" in text.get("style") and "'DejaVu Serif'" in text.get("style") for text in texts)
    described = json.loads(root.findtext(f".//{DC}description"))
    assert len(described["Stimuli"]) == len(mixed.cells)
    assert root.findtext(f"{SVG}title") == TITLE
    assert root.find(f".//{DC}date") is None


@pytest.mark.parametrize("dpi", [20, 300])
def test_a_png_on_paper_has_squares_of_pixels_and_its_resolution(mixed, dpi):
    sheet = sheet_of(mixed, width_mm=89)
    figure = Drawn(sheet, dpi)
    found_dpi = figure.info["dpi"][0]
    assert found_dpi >= dpi - 0.01
    assert figure.pixels.shape[1] / found_dpi * 25.4 == pytest.approx(89, abs=25.4 / found_dpi)
    times = int(figure.text["Pixels"].split()[5])
    assert times == max(1, -(-dpi // sheet.ppi))
    for place, cell in mixed.cells.items():
        expected = in_colour(pixels_of(cell)).repeat(times, 0).repeat(times, 1)
        np.testing.assert_array_equal(figure.cell(*place), expected)
    assert (figure.cell("pool2", "grass")[0] == FRAME_GREY).all()


def test_the_same_figure_is_the_same_bytes_in_another_process(small, tmp_path):
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from stimgen.cli import app\n"
        "for ending in ('pdf', 'svg', 'png'):\n"
        "    CliRunner().invoke(app, ['figure', sys.argv[1], '--out', f'{sys.argv[2]}.{ending}'])\n"
    )
    for seed in ("1", "2"):  # of hashes, which order sets
        command = [sys.executable, "-c", script, str(small), str(tmp_path / seed)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
    for ending in ("pdf", "svg", "png"):
        assert (tmp_path / f"1.{ending}").read_bytes() == (tmp_path / f"2.{ending}").read_bytes()
