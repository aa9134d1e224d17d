"""Figures for papers, read back by programs that did not write them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from PIL import Image as Pillow
from run_folders import noise, write_run

from stimgen.errors import InputError
from stimgen.report.finished import read_run
from stimgen.report.grid import make_grid
from stimgen.report.labels import Typeface
from stimgen.report.sheet import SMALLEST_FONT_PT, Sheet, draw_sheet, parse_width
from stimgen.report.sheet_pdf import encode_pdf
from stimgen.report.sheet_png import encode_sheet_png
from stimgen.report.sheet_svg import encode_svg
from stimgen.report.shown import FRAME_GREY

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
DC = "{http://purl.org/dc/elements/1.1/}"
MM = 72 / 25.4
TEXTS = {"original", "pool1", "pool2", "scrambled", "brick", "grass"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A grid of grey stimuli, one in colour, and an empty cell."""
    folder = tmp_path_factory.mktemp("mixed")
    grey = write_run(folder / "grey", failed=("grass-pool2-s1",))
    rgb = write_run(
        folder / "rgb", name="rgb", layer_sets=("pool3",), controls=(), colour=True, sources=("brick",)
    )
    return make_grid([read_run(grey), read_run(rgb)])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make_grid([read_run(write_run(tmp_path_factory.mktemp("plain") / "tiny"))])


def pixels(cell):
    return noise(cell.stimulus_id, 32, colour="pool3" in cell.stimulus_id)


def images_of(page):
    """Return the images of a PDF page with the matrices by which they are placed."""
    found, matrix = [], None
    for operands, operator in pikepdf.parse_content_stream(page):
        if str(operator) == "cm":
            matrix = [float(number) for number in operands]
        elif str(operator) == "Do":
            found.append((page.Resources.XObject[str(operands[0])], matrix))
    return found


def same_pixels(found, cells):
    """Return whether two lists of images have the same pixels, one for one in some order."""
    as_bytes = [sorted((array.shape, array.tobytes()) for array in arrays) for arrays in (found, cells)]
    return as_bytes[0] == as_bytes[1]


def test_a_pdf_has_every_pixel_in_grey_or_rgb_and_where_it_belongs(mixed):
    sheet = draw_sheet(mixed, width_mm=89)
    with pikepdf.open(io.BytesIO(encode_pdf(sheet))) as pdf:
        (page,) = pdf.pages
        width, height = (float(number) for number in page.MediaBox[2:])
        assert width / MM == pytest.approx(89, abs=0.01)
        assert height / MM == pytest.approx(sheet.height_mm, abs=0.01)
        images = images_of(page)
        arrays = []
        for image, (across, b, c, down, left, bottom) in images:
            space = "/DeviceRGB" if image.ColorSpace == "/DeviceRGB" else "/DeviceGray"
            assert (image.ColorSpace, image.BitsPerComponent, image.Filter) == (space, 8, "/FlateDecode")
            assert not {"/Interpolate", "/SMask", "/Mask", "/Decode"} & set(image.keys())
            assert (across, down) == pytest.approx((sheet.side_pt, sheet.side_pt), abs=0.01)
            assert (b, c) == (0, 0)
            assert 0 <= left <= left + across <= width + 0.01
            assert 0 <= bottom <= bottom + down <= height + 0.01
            arrays.append(np.asarray(pikepdf.PdfImage(image).as_pil_image()))
    assert same_pixels(arrays, [pixels(cell) for cell in mixed.cells.values()])
    assert sum(array.ndim == 3 for array in arrays) == 1
    for place, (at, _) in sheet.pictures.items():
        (number,) = [n for n, a in enumerate(arrays) if np.array_equal(a, pixels(mixed.cells[place]))]
        left, bottom = images[number][1][4:]
        assert (left, height - bottom - sheet.side_pt) == pytest.approx((at.left_pt, at.top_pt), abs=0.02)


def test_a_pdf_says_what_it_shows_and_no_time(mixed):
    with pikepdf.open(io.BytesIO(encode_pdf(draw_sheet(mixed, width_mm=89)))) as pdf:
        info = {key: str(value) for key, value in pdf.docinfo.items()}
        assert "/OutputIntents" not in pdf.Root
    assert info["/Title"] == "Stimuli of tiny, rgb: condition by source"
    assert info["/Creator"].startswith("stimgen ")
    assert info["/CreationDate"].startswith("D:19700101000000")
    assert "/ModDate" not in info
    described = json.loads(info["/Subject"])
    assert {entry["stimulus_id"]: entry["png_sha256"] for entry in described["Stimuli"]} == {
        cell.stimulus_id: cell.png_sha256 for cell in mixed.cells.values()
    }
    assert (described["Width"], described["Letters"], described["Resampling"]) == ("89 mm", "7 pt", "none")


def fonts_of(pdf):
    entries = [entry for entry in pdf.objects if isinstance(entry, pikepdf.Dictionary)]
    return [entry for entry in entries if entry.get("/Type") == "/Font"]


@pytest.mark.parametrize("font", [None, "aileron"])
def test_fonts_of_a_pdf_are_embedded_as_truetype(mixed, tmp_path, font):
    if font is not None:  # the one that comes with Pillow, which is used where there is no other
        font = tmp_path / "aileron.ttf"
        font.write_bytes(Typeface(None).content)
    with pikepdf.open(io.BytesIO(encode_pdf(draw_sheet(mixed, width_mm=89, font=font)))) as pdf:
        fonts = fonts_of(pdf)
        assert sorted(str(entry.Subtype) for entry in fonts) == ["/CIDFontType2", "/Type0"]
        (inner,) = (entry for entry in fonts if entry.Subtype == "/CIDFontType2")
        embedded = TTFont(io.BytesIO(inner.FontDescriptor.FontFile2.read_bytes()))
        assert "glyf" in embedded
        (named,) = (entry for entry in fonts if entry.Subtype == "/Type0")
        assert "+" in str(named.BaseFont)  # a subset
        assert named.ToUnicode


def test_text_of_a_pdf_can_be_selected_and_lies_on_the_page(mixed):
    sheet = draw_sheet(mixed, width_mm=89, annotate="ppd", labels={"pool1": "AVAVA office\nfi"})
    page = pypdfium2.PdfDocument(encode_pdf(sheet))[0]
    text = page.get_textpage()
    words = text.get_text_range().split()
    assert {*TEXTS - {"pool1"}, "AVAVA", "office", "fi", "pool3"} <= set(words)
    assert words.count("px/deg") == words.count("41") == 8
    width, height = page.get_size()
    for number in range(text.count_rects()):
        left, bottom, right, top = text.get_rect(number)
        assert -0.1 <= left < right <= width + 0.1
        assert -0.1 <= bottom < top <= height + 0.1


def test_an_svg_has_the_files_themselves_and_text_as_text(mixed):
    sheet = draw_sheet(mixed, width_mm=120.5, font_pt=8)
    root = etree.fromstring(encode_svg(sheet))
    assert root.get("width") == "120.5mm"
    box = [float(number) for number in root.get("viewBox").split()]
    assert box[2:] == pytest.approx([120.5 * MM, float(root.get("height")[:-2]) * MM], abs=0.001)
    shown = {}
    for image in root.iter(f"{SVG}image"):
        start, content = image.get(HREF).split(",")
        assert start == "data:image/png;base64"
        shown[image.findtext(f"{SVG}title")] = base64.b64decode(content)
        assert image.get("width") == image.get("height")
        assert float(image.get("x")) + float(image.get("width")) <= box[2] + 0.01
        assert float(image.get("y")) + float(image.get("height")) <= box[3] + 0.01
    assert set(shown) == {cell.stimulus_id for cell in mixed.cells.values()}
    for cell in mixed.cells.values():
        content = shown[cell.stimulus_id]
        assert content == (cell.run.folder / cell.row["filename"]).read_bytes()
        np.testing.assert_array_equal(np.asarray(Pillow.open(io.BytesIO(content))), pixels(cell))
    texts = list(root.iter(f"{SVG}text"))
    assert {text.text for text in texts} == {*TEXTS, "pool3"}
    assert {text.getparent().get("font-size") for text in texts} == {"8"}
    assert texts[0].getparent().get("font-family").endswith("Arial, Helvetica, sans-serif")
    assert not list(root.iter(f"{SVG}path", f"{SVG}use"))
    assert len(list(root.iter(f"{SVG}rect"))) == len(sheet.frames) == 2
    described = json.loads(root.find(f".//{DC}description").text)
    assert len(described["Stimuli"]) == len(mixed.cells)
    assert root.findtext(f".//{DC}creator").startswith("stimgen ")
    assert root.findtext(f"{SVG}title") == "Stimuli of tiny, rgb: condition by source"


def test_a_png_on_paper_has_squares_of_pixels_and_its_resolution(mixed):
    sheet = draw_sheet(mixed, width_mm=89)
    with Pillow.open(io.BytesIO(encode_sheet_png(sheet, 300))) as image:
        assert image.mode == "RGB"
        assert image.info["dpi"][0] >= 299.99
        assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(89, abs=0.1)
        figure, times = np.asarray(image), int(image.text["Pixels"].split()[5])
    assert times > 1
    px_per_pt = times * 32 / sheet.side_pt
    for place, (at, _) in sheet.pictures.items():
        left, top = int(at.left_pt * px_per_pt), int(at.top_pt * px_per_pt)
        squares = figure[top : top + 32 * times, left : left + 32 * times].reshape(32, times, 32, times, 3)
        expected = pixels(mixed.cells[place])
        expected = np.repeat(expected[..., None], 3, axis=2) if expected.ndim == 2 else expected
        np.testing.assert_array_equal(squares, np.broadcast_to(expected[:, None, :, None], squares.shape))
    left, top = (int(edge * px_per_pt) for edge in (sheet.frames[0].left_pt, sheet.frames[0].top_pt))
    assert (figure[top, left : left + 32 * times] == FRAME_GREY).all()


def test_a_grey_png_stays_grey_and_pixels_that_suffice_are_shown_once(plain):
    sheet = draw_sheet(plain, width_mm=89)
    with Pillow.open(io.BytesIO(encode_sheet_png(sheet, 20))) as image:
        assert image.mode == "L"
        assert image.info["dpi"][0] == pytest.approx(sheet.ppi, rel=1e-3)
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(image), (32, 32))
        for cell in plain.cells.values():
            assert (windows == pixels(cell)).all(axis=(2, 3)).sum() == 1


def test_resized_stimuli_are_resized_in_all_formats(plain):
    sheet = draw_sheet(plain, width_mm=89, cell_px=16)
    expected = [
        np.asarray(Pillow.fromarray(pixels(cell)).resize((16, 16), Pillow.Resampling.LANCZOS))
        for cell in plain.cells.values()
    ]
    root = etree.fromstring(encode_svg(sheet))
    svg = [
        np.asarray(Pillow.open(io.BytesIO(base64.b64decode(image.get(HREF).split(",")[1]))))
        for image in root.iter(f"{SVG}image")
    ]
    with pikepdf.open(io.BytesIO(encode_pdf(sheet))) as pdf:
        drawn = [np.asarray(pikepdf.PdfImage(image).as_pil_image()) for image, _ in images_of(pdf.pages[0])]
    assert same_pixels(svg, expected)
    assert same_pixels(drawn, expected)
    assert json.loads(root.find(f".//{DC}description").text)["Resampling"].startswith("Lanczos")


def test_the_same_sheet_is_the_same_bytes_in_another_process(tmp_path):
    folder = write_run(tmp_path / "tiny")
    script = (
        "import sys\nfrom pathlib import Path\nfrom stimgen.cli import app\n"
        "app(['figure', sys.argv[1], '--out', sys.argv[2]])\n"
    )
    for ending in ("pdf", "svg"):
        contents = []
        for seed in ("1", "2"):  # of hashes, which order sets
            out = tmp_path / f"{seed}.{ending}"
            subprocess.run(
                [sys.executable, "-c", script, str(folder), str(out)],
                capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed},
            )  # fmt: skip
            contents.append(out.read_bytes())
        assert contents[0] == contents[1]


def test_letters_get_smaller_before_words_are_divided(plain):
    wide = draw_sheet(plain, width_mm=89, labels={"brick": "B" * 25})
    assert SMALLEST_FONT_PT < wide.font_pt < 7
    divided = draw_sheet(plain, width_mm=89, labels={"brick": "B" * 60})
    assert divided.font_pt == SMALLEST_FONT_PT
    assert "".join(line.text for line in divided.lines if "B" in line.text) == "B" * 60
    assert draw_sheet(plain, width_mm=89, font_pt=4, labels={"brick": "B" * 60}).font_pt == 4


def test_a_font_that_is_not_truetype_is_named(plain, tmp_path):
    font = tmp_path / "cff.otf"
    font.write_bytes(cff(Typeface(None).content))
    sheet = draw_sheet(plain, width_mm=89, font=font)
    with pytest.raises(InputError, match=r"not TrueType(.|\n)*SVG"):
        encode_pdf(sheet)
    assert b"<text" in encode_svg(sheet)


def cff(truetype):
    """Return a font with the outlines of another, squares, as CFF."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.t2CharStringPen import T2CharStringPen

    glyphs = [".notdef", *(f"g{code}" for code in range(33, 127)), "space"]
    pen = T2CharStringPen(500, None)
    pen.moveTo((50, 0))
    for corner in ((50, 500), (400, 500), (400, 0)):
        pen.lineTo(corner)
    pen.closePath()
    empty = T2CharStringPen(500, None).getCharString()
    builder = FontBuilder(1000, isTTF=False)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({32: "space"} | {code: f"g{code}" for code in range(33, 127)})
    shapes = {name: pen.getCharString() if name.startswith("g") else empty for name in glyphs}
    builder.setupCFF("Squares", {"FullName": "Squares"}, shapes, {})
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    file = io.BytesIO()
    builder.save(file)
    assert truetype[:4] != file.getvalue()[:4] == b"OTTO"
    return file.getvalue()


@given(st.floats(20, 2000))
def test_a_width_in_mm_is_that_width(width):
    assert parse_width(f"{width:.4f}") == pytest.approx(width, abs=1e-4)
    assert parse_width(f"{width:.4f} mm") == parse_width(f"{width:.4f}mm")


@given(st.text(max_size=12))
def test_a_width_is_within_bounds_or_refused(text):
    with contextlib.suppress(InputError):
        assert 20 <= parse_width(text) <= 2000


@pytest.fixture(scope="module")
def one():
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", layer_sets=("pool1",), controls=("original",), side=24)
        yield make_grid([read_run(run)])


@settings(deadline=None, max_examples=30)
@given(
    row=st.text(st.characters(codec="utf-8"), max_size=15),
    column=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    width=st.floats(40, 200),
    font_pt=st.floats(4, 12),
)
def test_any_label_is_on_the_page_of_both_formats_or_refused(one, row, column, width, font_pt):
    try:
        sheet = draw_sheet(one, width_mm=width, font_pt=font_pt, labels={"pool1": row, "grass": column})
    except InputError as error:
        why = str(error)
    else:
        why = ""
    if why:
        assert "U+" in why or "too narrow" in why
        return
    texts = [text.text for text in etree.fromstring(encode_svg(sheet)).iter(f"{SVG}text")]
    assert texts == [line.text for line in sheet.lines]
    page = pypdfium2.PdfDocument(encode_pdf(sheet))[0]
    text = page.get_textpage()
    for number in range(text.count_rects()):
        left, bottom, right, top = text.get_rect(number)
        assert left >= -0.5
        assert right <= page.get_width() + 0.5
        assert bottom >= -0.5
        assert top <= page.get_height() + 0.5


def test_a_sheet_is_no_higher_than_viewers_show(plain, monkeypatch):
    monkeypatch.setattr("stimgen.report.sheet.LARGEST_HEIGHT_MM", 100.0)
    with pytest.raises(
        InputError, match=r"rows of stimuli would be \d+ mm high, and PDF viewers show at most 100"
    ):
        draw_sheet(plain, width_mm=2000.0)


def test_characters_that_no_xml_can_hold_are_replaced(plain, monkeypatch):
    """Labels with them are refused, as no font has them; the name of a run is not drawn."""
    monkeypatch.setattr(Sheet, "title", "a\ufffeb\x07c")
    svg = etree.fromstring(encode_svg(draw_sheet(plain, width_mm=89.0)))
    assert svg.findtext(f"{SVG}title") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
