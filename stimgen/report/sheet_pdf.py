"""A sheet as PDF: text with its font embedded as TrueType, stimuli in their own pixels."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from stimgen.errors import InputError
from stimgen.report.labels import Typeface
from stimgen.report.sheet import Sheet
from stimgen.report.shown import FRAME_GREY

_FAMILY = "labels"
_FRAME_PT = 0.5


def encode_pdf(sheet: Sheet) -> bytes:
    """Return a PDF file of one page, the same bytes for the same sheet.

    Stimuli are compressed without loss, grey ones in DeviceGray and coloured ones in DeviceRGB, with no
    colour profile and no interpolation. The format wants a date; it is always that of the epoch.

    Raises
    ------
    InputError
        If the font is not TrueType.
    """
    from fpdf import FPDF

    with tempfile.TemporaryDirectory() as folder:
        pdf = FPDF(unit="pt", format=(sheet.width_pt, sheet.height_pt))
        pdf.add_font(_FAMILY, fname=_font_file(sheet.shown.typeface, Path(folder)))
        pdf.set_creation_date(datetime.fromtimestamp(0, UTC))
        pdf.set_title(sheet.title)
        pdf.set_subject(sheet.description)
        pdf.set_creator(sheet.text["Software"])
        pdf.set_producer("fpdf2")
        pdf.set_auto_page_break(False)
        pdf.set_image_filter("FlateDecode")
        pdf.add_page()
        pdf.set_font(_FAMILY, size=sheet.font_pt)
        # Kerned and joined as they were measured.
        pdf.set_text_shaping(True)
        for at, image in sheet.pictures.values():
            pdf.image(image, x=at.left_pt, y=at.top_pt, w=sheet.side_pt, h=sheet.side_pt)
        pdf.set_draw_color(FRAME_GREY)
        pdf.set_line_width(_FRAME_PT)
        for at in sheet.frames:
            inner = sheet.side_pt - _FRAME_PT
            pdf.rect(at.left_pt + _FRAME_PT / 2, at.top_pt + _FRAME_PT / 2, inner, inner)
        for line in sheet.lines:
            width = pdf.get_string_width(line.text)
            left = line.x_pt - (width / 2 if line.anchor == "middle" else width)
            pdf.text(left, line.baseline_pt, line.text)
        return bytes(pdf.output())


def _font_file(typeface: Typeface, folder: Path) -> Path:
    """Return the font as a file whose name ends as fpdf2 wants it."""
    from fontTools.ttLib import TTFont, TTLibError

    content = typeface.content
    try:
        with TTFont(io.BytesIO(content), fontNumber=0, lazy=True) as font:
            is_truetype = "glyf" in font
    except TTLibError:
        is_truetype = False
    if not is_truetype:
        raise InputError(
            f"The font {typeface.name} is not TrueType, and journals ask for TrueType fonts in a PDF file.",
            "Name another file with --font, or write an SVG file, which names its font and does not hold it.",
        )
    file = folder / ("font.ttc" if content.startswith(b"ttcf") else "font.ttf")
    file.write_bytes(content)
    return file
