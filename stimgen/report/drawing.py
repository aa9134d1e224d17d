"""A figure drawn by matplotlib: in the pixels of its stimuli, or as a sheet of a given width for a paper."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stimgen.errors import InputError
from stimgen.images.pixels import MAX_PIXELS
from stimgen.images.png import encode_png
from stimgen.report.figure import Content, Place
from stimgen.report.labels import Block, fit

WIDTHS_MM = {"single": 89.0, "double": 183.0}
"""Widths of columns in Nature; of other journals they differ by a few mm."""
SMALLEST_WIDTH_MM, LARGEST_WIDTH_MM = 20.0, 2000.0
LARGEST_HEIGHT_MM = 5080.0
"""200 inches, the largest page of a PDF that all viewers show (ISO 32000-1, annex C)."""
FONT_PT, SMALLEST_FONT_PT = 7.0, 5.0
"""Sizes of the largest and the smallest letters that Nature takes."""
ASKED_PPI = 300
"""Resolution that journals ask of photographs, pixels per inch."""
FRAME_GREY = 176
"""Grey level of the thin frame of a cell without a stimulus."""
MM_PER_PT = 25.4 / 72
UNITS_PER_PT = 20

SETTINGS = {
    "pdf.fonttype": 42,  # TrueType
    "svg.fonttype": "none",  # text is text
    "svg.hashsalt": "stimgen",  # ids are the same in each file
    "image.composite_image": False,  # each stimulus in its own pixels
    "text.hinting": "none",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
}


@dataclass(frozen=True)
class Sheet:
    """A figure with a place for everything; nothing overlaps.

    Lengths are whole numbers of a unit: a pixel of the stimuli, or a twentieth of a point if the figure has a
    width on paper. `side` is that of a stimulus, `letters` the size of letters. `corners` has the left and
    upper edge of each cell. `page` has all texts, in axes whose coordinates are units.
    """

    content: Content = field(repr=False)
    width_mm: float | None
    width: float
    height: int
    letters: int
    side: int
    corners: Mapping[Place, tuple[int, int]] = field(repr=False)
    page: Figure = field(repr=False)

    @property
    def pt(self) -> int:
        """Units per point."""
        return 1 if self.width_mm is None else UNITS_PER_PT

    @property
    def height_mm(self) -> float:
        """Height on paper."""
        return self.height / self.pt * MM_PER_PT

    @property
    def ppi(self) -> float:
        """Pixels of stimuli per inch."""
        return self.content.side_px / (self.side / self.pt / 72)

    @property
    def text(self) -> dict[str, str]:
        """What the file says about itself, by keyword."""
        if self.width_mm is None:
            return dict(self.content.text)
        sizes = {"Width": f"{self.width_mm:g} mm", "Letters": f"{self.letters / self.pt:g} pt"}
        return {**self.content.text, **sizes, "Resolution": f"{self.ppi:.4g} ppi"}


def parse_width(text: str) -> float:
    """Return the width in mm that a command line gives.

    Examples
    --------
    >>> parse_width("single"), parse_width("120"), parse_width("120.5mm")
    (89.0, 120.0, 120.5)
    """
    if text in WIDTHS_MM:
        return WIDTHS_MM[text]
    number = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(?:mm)?", text)
    if number is None or not SMALLEST_WIDTH_MM <= float(number[1]) <= LARGEST_WIDTH_MM:
        named = ", ".join(f"{name} ({width:g} mm)" for name, width in WIDTHS_MM.items())
        raise InputError(
            f'--width "{text}" is not a width of a figure.',
            f"Give {SMALLEST_WIDTH_MM:g} to {LARGEST_WIDTH_MM:g} mm, or {named}.",
        )
    return float(number[1])


class _Fit(NamedTuple):
    """Labels in lines, and lengths in units; `left` is that of the first column, `step` to the next."""

    rows: Sequence[Block]
    columns: Sequence[Block]
    notes: Sequence[Block]
    letters: int
    side: int
    left: int
    step: int
    gap: int
    edge: int


def _fit(content: Content, width_mm: float | None, font_pt: float) -> _Fit | None:
    """Return the largest letters with which everything fits, if any do."""
    count, font = len(content.column_labels), content.font
    if width_mm is None:
        width, side = 0, content.side_px
        gap = edge = max(6, round(0.05 * side))
        sizes = list(range(max(12, round(0.1 * side)), 8, -1))
        row_width = max(side, 8 * sizes[0])
    else:
        width, side, gap, edge = int(width_mm / MM_PER_PT * UNITS_PER_PT), 0, 3 * UNITS_PER_PT, 0
        largest = round(font_pt * UNITS_PER_PT)
        smallest = min(largest, round(SMALLEST_FONT_PT * UNITS_PER_PT))
        sizes = [*range(largest, smallest, -UNITS_PER_PT // 2), smallest]
        row_width = round(0.25 * width)
    for letters in sizes:
        divide = letters == sizes[-1]
        rows = fit(content.row_labels, font, letters, row_width, divide=divide)
        if rows is None:
            continue
        margin = max(block.width for block in rows)
        left = edge + (margin + letters // 3 if margin else 0)
        if width:
            side = (width - left - (count - 1) * gap) // count
            if side < 3 * letters:
                continue
        columns = fit(content.column_labels, font, letters, side, divide=divide)
        notes = fit(tuple(content.notes.values()), font, letters, side, divide=divide)
        if columns is None or notes is None:
            continue
        # A single character may be wider than a stimulus.
        step = max(side, *(block.width for block in (*columns, *notes))) + gap
        if not width or left + count * step - gap <= width:
            return _Fit(rows, columns, notes, letters, side, left, step, gap, edge)
    return None


def arrange(content: Content, width_mm: float | None = None, font_pt: float = FONT_PT) -> Sheet:
    """Give everything in a figure a place, names of rows on the left and of columns on top.

    Labels get more lines, then smaller letters, of one size for all, and at last their words are divided.
    """
    fitting = _fit(content, width_mm, font_pt)
    if fitting is None:
        raise InputError(
            f"{width_mm:g} mm are too narrow for {len(content.column_labels)} columns of stimuli.",
            "Give more with --width, show fewer columns with --select, or smaller letters with --font-pt.",
        )
    rows, columns, notes, letters, side, left, step_x, gap, edge = fitting
    near = letters // 3
    grid, below = content.grid, dict(zip(content.notes, notes, strict=True))
    header = max(block.height for block in columns)
    lowest = max((block.height for block in notes), default=0)
    step_y = max(side + (lowest + near if lowest else 0), *(block.height for block in rows)) + gap
    top = edge + (header + near if header else 0)
    height = top + len(grid.rows) * step_y - gap + edge
    if width_mm is None:
        pt, width = 1, float(left + len(grid.columns) * step_x - gap + edge)
    else:
        pt, width = UNITS_PER_PT, width_mm / MM_PER_PT * UNITS_PER_PT
        if height / pt * MM_PER_PT > LARGEST_HEIGHT_MM:
            raise InputError(
                f"{len(grid.rows)} rows of stimuli would be {height / pt * MM_PER_PT:.0f} mm high, and PDF "
                f"viewers show at most {LARGEST_HEIGHT_MM:g} mm.",
                "Give a smaller --width, or show fewer rows with --select.",
            )
    page = Figure(facecolor="white")
    axes = page.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    font = content.font.at(letters / pt)

    def write(block: Block, x: float, y: int, align: str) -> None:
        for number, line in enumerate(block.lines):
            baseline = y + block.ascent + number * block.line_height
            text = axes.text(x, baseline, line, ha=align, va="baseline", fontproperties=font)
            text.set(color="black", parse_math=False)

    corners: dict[Place, tuple[int, int]] = {}
    for j, block in enumerate(columns):
        write(block, left + j * step_x + (step_x - gap) / 2, edge + header - block.height, "center")
    for i, (row, block) in enumerate(zip(grid.rows, rows, strict=True)):
        y = top + i * step_y
        # Beside the middle of the stimulus, or as far down as a tall label needs.
        write(block, left - near, y + max(0, (side - block.height) // 2), "right")
        for j, column in enumerate(grid.columns):
            x = left + j * step_x + (step_x - gap - side) // 2
            corners[row, column] = (x, y)
            write(below.get((row, column), Block()), x + side / 2, y + side + near, "center")
    return Sheet(content, width_mm, width, height, letters, side, corners, page)


def encode(sheet: Sheet, file_format: str, dpi: float = ASKED_PPI) -> bytes:
    """Return a figure as a file without a date, the same bytes for the same sheet.

    Stimuli are embedded without loss in PDF and SVG files, and text is text. In a PNG file with a width on
    paper, every pixel of a stimulus is a square of pixels, as large as it takes to reach `dpi`.
    """
    with mpl.rc_context(mpl.rcParamsDefault | SETTINGS):
        return _png(sheet, dpi) if file_format == "png" else _vectors(sheet, file_format)


def _png(sheet: Sheet, dpi: float) -> bytes:
    images, text = sheet.content.images, sheet.text
    times = 1 if sheet.width_mm is None else max(1, math.ceil(dpi / sheet.ppi))
    side = times * sheet.content.side_px
    px = side / sheet.side
    # Up for the page and down for places in it, so that nothing is cut off.
    width, height = math.ceil(sheet.width * px), math.ceil(sheet.height * px)
    if width * height > MAX_PIXELS:
        raise InputError(
            f"The figure would have {width} × {height} pixels; {MAX_PIXELS} are the limit.",
            "Show fewer rows and columns with --select, or smaller stimuli with --cell-px.",
        )
    # A hundredth of a pixel is added, because the canvas rounds its size down.
    _set_size(sheet, (width + 0.01) / px, (height + 0.01) / px, dpi=px * sheet.pt * 72)
    canvas = FigureCanvasAgg(sheet.page)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    line = max(1, round(px * sheet.pt / 2))
    frame = np.full((side, side, 3), FRAME_GREY, np.uint8)
    frame[line:-line, line:-line] = 255
    for place, (left, top) in sheet.corners.items():
        x, y = int(left * px), int(top * px)
        shown = _rgb(images[place]).repeat(times, 0).repeat(times, 1) if place in images else frame
        pixels[y : y + side, x : x + side] = shown
    if all(image.ndim == 2 for image in images.values()):
        pixels = pixels[..., 0]
    if sheet.width_mm is None:
        return encode_png(pixels, text=text)
    text["Pixels"] = f"each of a stimulus is {times} × {times} of this file"
    return encode_png(pixels, text=text, ppi=times * sheet.ppi)


def _vectors(sheet: Sheet, file_format: str) -> bytes:
    font = sheet.content.font
    if file_format == "pdf" and Path(font.files[0]).read_bytes()[:4] == b"OTTO":
        raise InputError(
            f"The font {font.names[0]} is not TrueType, and journals ask for TrueType fonts in PDF files.",
            "Name another file with --font, or write an SVG file, which names its font and does not hold it.",
        )
    _set_size(sheet, sheet.width, sheet.height, dpi=72)
    (axes,) = sheet.page.axes
    for place, (left, top) in sheet.corners.items():
        extent = (left, left + sheet.side, top + sheet.side, top)
        if place in sheet.content.images:
            image = _rgb(sheet.content.images[place])
            axes.imshow(image, extent=extent, interpolation="none", aspect="auto")
        else:
            inner = sheet.side - sheet.pt / 2
            corner = (left + sheet.pt / 4, top + sheet.pt / 4)
            grey = str(FRAME_GREY / 255)
            axes.add_patch(Rectangle(corner, inner, inner, fill=False, edgecolor=grey, linewidth=0.5))
    text = sheet.text
    title = f"Stimuli of {text['Run']}: {text['Rows']} by {text['Columns']}"
    title = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title)
    description = json.dumps(text | {"Stimuli": json.loads(text["Stimuli"])})
    about, date = ("Subject", "CreationDate") if file_format == "pdf" else ("Description", "Date")
    metadata = {"Title": title, "Creator": text["Software"], about: description, date: None}
    file = io.BytesIO()
    sheet.page.savefig(file, format=file_format, metadata=metadata, transparent=True)
    return file.getvalue()


def _set_size(sheet: Sheet, width: float, height: float, dpi: float) -> None:
    """Set the size of the page in units, and its resolution."""
    sheet.page.set_dpi(dpi)
    sheet.page.set_size_inches(width / sheet.pt / 72, height / sheet.pt / 72)
    sheet.page.axes[0].set(xlim=(0, width), ylim=(height, 0))


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
