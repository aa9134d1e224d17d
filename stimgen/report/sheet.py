"""A figure for a paper: stimuli and labels on a sheet of a given width, sizes in points."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image as Pillow

from stimgen.errors import InputError
from stimgen.report.arrange import Layout, Spacing, arrange
from stimgen.report.grid import Grid
from stimgen.report.labels import Block, lay_out
from stimgen.report.shown import Shown, show

WIDTHS_MM = {"single": 89.0, "double": 183.0}
"""Widths of columns in Nature; of other journals they differ by a few mm."""
SMALLEST_WIDTH_MM, LARGEST_WIDTH_MM = 20.0, 2000.0
LARGEST_HEIGHT_MM = 5080.0
"""200 inches, the largest page of a PDF that all viewers show (ISO 32000-1, annex C)."""
FONT_PT = 7.0
"""The largest letters that Nature takes."""
SMALLEST_FONT_PT = 5.0
"""The smallest letters that Nature takes: words get smaller down to this size, and then are divided."""
ASKED_PPI = 300
"""Resolution that journals ask of photographs, pixels per inch."""
FONTS = ("arial.ttf", "Arial.ttf", "LiberationSans-Regular.ttf")
"""What journals call standard fonts, and one with the same widths."""
MM_PER_PT = 25.4 / 72

_PER_PT = 20
"""Whole numbers in which the sheet is arranged, per point: texts are measured in letters of that size."""
_STEP_PT = 0.5
_GAP_PT = 3
_ROW_LABEL_SHARE = 0.25
"""Of the sheet's width."""
_LEAST_SIDE_LETTERS = 3
"""Times the size of the letters that a stimulus is wide, at least."""

Anchor = Literal["middle", "end"]


@dataclass(frozen=True)
class Line:
    """A line of text: where it is held, and at which of its points."""

    text: str
    x_pt: float
    baseline_pt: float
    anchor: Anchor


@dataclass(frozen=True)
class Square:
    """Where a stimulus, or the frame of an empty cell, has its left upper corner."""

    left_pt: float
    top_pt: float


@dataclass(frozen=True)
class Sheet:
    """A figure for a paper, as all formats draw it.

    Attributes
    ----------
    width_mm, height_mm
        Of the page.
    font_pt
        Size of all letters.
    side_pt
        Of every stimulus.
    cells
        Places by the names of row and column, of empty cells too.
    lines
        All text.
    shown
        Stimuli, font, and what the file says about itself.
    """

    width_mm: float
    height_mm: float
    font_pt: float
    side_pt: float
    cells: Mapping[tuple[str, str], Square] = field(repr=False)
    lines: tuple[Line, ...] = field(repr=False)
    shown: Shown = field(repr=False)

    @property
    def width_pt(self) -> float:
        """Width in points."""
        return self.width_mm / MM_PER_PT

    @property
    def height_pt(self) -> float:
        """Height in points."""
        return self.height_mm / MM_PER_PT

    @property
    def ppi(self) -> float:
        """Pixels of stimuli per inch."""
        return self.shown.side_px / (self.side_pt / 72)

    @property
    def pictures(self) -> Mapping[tuple[str, str], tuple[Square, Pillow.Image]]:
        """Places and pixels of the stimuli."""
        images = self.shown.images
        return {place: (at, images[place]) for place, at in self.cells.items() if place in images}

    @property
    def frames(self) -> tuple[Square, ...]:
        """Places of empty cells."""
        return tuple(at for place, at in self.cells.items() if place not in self.shown.images)

    @property
    def title(self) -> str:
        """What the figure is, in one line."""
        return f"Stimuli of {self.text['Run']}: {self.text['Rows']} by {self.text['Columns']}"

    @property
    def description(self) -> str:
        """What the file says about itself, as one JSON object."""
        return json.dumps(self.text | {"Stimuli": json.loads(self.text["Stimuli"])}, ensure_ascii=False)

    @property
    def text(self) -> dict[str, str]:
        """What the file says about itself, by keyword."""
        return {
            **self.shown.text,
            "Width": f"{self.width_mm:g} mm",
            "Letters": f"{self.font_pt:g} pt",
            "Resolution": f"{self.ppi:.4g} ppi",
        }


def parse_width(text: str) -> float:
    """Return the width in mm that a command line gives, as a number or as the name of a column.

    Raises
    ------
    InputError
        If it is neither, or not between `SMALLEST_WIDTH_MM` and `LARGEST_WIDTH_MM`.

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


def draw_sheet(
    grid: Grid,
    *,
    width_mm: float,
    font_pt: float = FONT_PT,
    labels: Mapping[str, str] | None = None,
    annotate: str | None = None,
    cell_px: int | None = None,
    font: Path | None = None,
) -> Sheet:
    """Arrange a grid of stimuli on a sheet, with the names of rows on the left and of columns on top.

    Stimuli get the width that the labels of rows leave. Labels get more lines, then smaller letters, of one
    size for all, down to `SMALLEST_FONT_PT` (or `font_pt`, if that is smaller); then words are divided.

    Parameters
    ----------
    grid, labels, annotate, cell_px, font
        As of `stimgen.report.shown.show`.
    width_mm
        Width of the page, which has no margins.
    font_pt
        Size of the letters.

    Raises
    ------
    InputError
        As of `stimgen.report.shown.show`, or if the sheet is too narrow for its columns.
    """
    shown = show(grid, labels=labels, annotate=annotate, cell_px=cell_px, font=font, preferred=FONTS)
    found = _layout(shown, int(width_mm / MM_PER_PT * _PER_PT), round(font_pt * _PER_PT))
    if found is None:
        raise InputError(
            f"{width_mm:g} mm are too narrow for {len(grid.columns)} columns of stimuli.",
            "Give more with --width, show fewer columns with --select, or smaller letters with --font-pt.",
        )
    layout, side, letters = found
    height_mm = layout.height / _PER_PT * MM_PER_PT
    if height_mm > LARGEST_HEIGHT_MM:
        raise InputError(
            f"{len(grid.rows)} rows of stimuli would be {height_mm:.0f} mm high, and PDF viewers show at "
            f"most {LARGEST_HEIGHT_MM:g} mm.",
            "Give a smaller --width, or show fewer rows with --select.",
        )
    return Sheet(
        width_mm=width_mm,
        height_mm=height_mm,
        font_pt=letters / _PER_PT,
        side_pt=side / _PER_PT,
        cells={place: Square(at.left / _PER_PT, at.top / _PER_PT) for place, at in layout.cells.items()},
        lines=_lines(layout),
        shown=shown,
    )


def _layout(shown: Shown, width: int, largest: int) -> tuple[Layout, int, int] | None:
    """Return the layout, the side of a stimulus and the size of the letters, as large as fit, if any do."""
    smallest = min(largest, round(SMALLEST_FONT_PT * _PER_PT))
    gap, columns = _GAP_PT * _PER_PT, shown.grid.columns
    sizes = [*range(largest, smallest, -round(_STEP_PT * _PER_PT)), smallest]
    for letters in sizes:
        last, near = letters == smallest, letters // 3
        texts = [shown.names["row", name] for name in shown.grid.rows]
        rows = _laid_out(shown, texts, letters, round(_ROW_LABEL_SHARE * width), last)
        if rows is None:
            continue
        margin = max(block.width for block in rows)
        side = (width - (margin + near if margin else 0) - (len(columns) - 1) * gap) // len(columns)
        if side < _LEAST_SIDE_LETTERS * letters:
            continue
        above = _laid_out(shown, [shown.names["column", name] for name in columns], letters, side, last)
        below = _laid_out(shown, list(shown.notes.values()), letters, side, last)
        if above is not None and below is not None:
            notes = dict(zip(shown.notes, below, strict=True))
            spacing = Spacing(side, gap, near, edge=0)
            layout = arrange(shown.grid, above, rows, notes, spacing)
            if layout.width <= width:  # a single character may be wider than a stimulus
                return layout, side, letters
    return None


def _laid_out(shown: Shown, texts: list[str], letters: int, width: int, divide: bool) -> list[Block] | None:
    font = shown.typeface.at(letters)
    blocks = [lay_out(text, font, width, break_words=divide) for text in texts]
    fitting = [block for block in blocks if block is not None]
    return fitting if len(fitting) == len(blocks) else None


def _lines(layout: Layout) -> tuple[Line, ...]:
    lines = []
    for block, at, align in layout.labels:
        anchor: Anchor = "middle" if align == "centre" else "end"
        x = at.left + (at.width / 2 if align == "centre" else at.width)
        for number, text in enumerate(block.lines):
            baseline = at.top + block.ascent + number * block.line_px
            lines.append(Line(text, x / _PER_PT, baseline / _PER_PT, anchor))
    return tuple(lines)
