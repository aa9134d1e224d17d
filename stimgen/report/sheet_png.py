"""A sheet as PNG: every pixel of a stimulus as a square of pixels, so that letters are sharp."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from stimgen.images.png import encode_png
from stimgen.report.figure import refuse_too_large
from stimgen.report.sheet import ASKED_PPI, Sheet
from stimgen.report.shown import FRAME_GREY


def magnification(sheet: Sheet, least_ppi: float = ASKED_PPI) -> int:
    """Return how many pixels of the file, along each side, one pixel of a stimulus takes."""
    return max(1, math.ceil(least_ppi / sheet.ppi))


def encode_sheet_png(sheet: Sheet, least_ppi: float = ASKED_PPI) -> bytes:
    """Return a PNG file with its resolution, the same bytes for the same sheet.

    Stimuli are not resampled: each of their pixels becomes a square of as many pixels as the resolution
    takes to reach `least_ppi`.

    Raises
    ------
    InputError
        If the figure would have too many pixels.
    """
    times = magnification(sheet, least_ppi)
    ppi = times * sheet.ppi
    px_per_pt = ppi / 72
    # Up for the sheet and down for places in it, so that nothing is cut off.
    width, height = math.ceil(sheet.width_pt * px_per_pt), math.ceil(sheet.height_pt * px_per_pt)
    refuse_too_large(width, height)
    mode = "RGB" if any(image.mode == "RGB" for _, image in sheet.pictures.values()) else "L"
    canvas = Pillow.new(mode, (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    side = times * sheet.shown.side_px
    for at, image in sheet.pictures.values():
        squares = image.convert(mode).resize((side, side), Pillow.Resampling.NEAREST)
        canvas.paste(squares, (int(at.left_pt * px_per_pt), int(at.top_pt * px_per_pt)))
    for at in sheet.frames:
        left, top = int(at.left_pt * px_per_pt), int(at.top_pt * px_per_pt)
        line = max(1, round(px_per_pt / 2))
        grey = (FRAME_GREY,) * 3 if mode == "RGB" else FRAME_GREY
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=grey, width=line)
    font = sheet.shown.typeface.at(sheet.font_pt * px_per_pt)
    for text in sheet.lines:
        place = (text.x_pt * px_per_pt, text.baseline_pt * px_per_pt)
        anchor = "ms" if text.anchor == "middle" else "rs"
        draw.text(place, text.text, font=font, fill=0 if mode == "L" else (0, 0, 0), anchor=anchor)
    says = sheet.text | {"Pixels": f"each of a stimulus is {times} × {times} of this file"}
    return encode_png(np.asarray(canvas), text=says, ppi=ppi)
