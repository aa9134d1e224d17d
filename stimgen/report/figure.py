"""A figure: stimuli of finished runs as a labelled grid, in their own pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from stimgen.errors import InputError
from stimgen.images.samples import MAX_PIXELS
from stimgen.report.arrange import Layout, Place, Spacing, arrange
from stimgen.report.grid import Grid
from stimgen.report.labels import fit
from stimgen.report.shown import FRAME_GREY, Shown, show

SMALLEST_LABEL_PX = 12
LABEL_SHARE = 0.1
"""Size of letters as a share of the side of a stimulus."""
GAP_SHARE, SMALLEST_GAP_PX = 0.05, 6
ROW_LABEL_LETTERS = 8
"""How many times the size of its letters a row's label may take before it gets a second line, at least."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes
    ----------
    pixels
        (H, W) or, if any stimulus is in colour, (H, W, 3) uint8.
    text
        What the PNG file says about itself, by keyword.
    cells
        Place of each cell by the names of its row and column, of empty cells too.
    labels
        Places of all labels and annotations; empty ones have none.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    text: Mapping[str, str]
    cells: Mapping[tuple[str, str], Place]
    labels: tuple[Place, ...]


def draw_figure(
    grid: Grid,
    *,
    labels: Mapping[str, str] | None = None,
    annotate: str | None = None,
    cell_px: int | None = None,
    font: Path | None = None,
) -> Figure:
    """Draw a grid of stimuli, with the names of rows on the left and of columns on top.

    Labels get more lines, then smaller letters, and at last the rows and columns get farther apart: nothing
    is cut off, and nothing overlaps. Grey stimuli among coloured ones keep their values. A cell without a
    stimulus has a thin grey frame.

    Parameters
    ----------
    grid, labels, annotate, cell_px, font
        As of `stimgen.report.shown.show`.

    Raises
    ------
    InputError
        As of `stimgen.report.shown.show`, or if the figure has more than `MAX_PIXELS` pixels.
    """
    shown = show(grid, labels=labels, annotate=annotate, cell_px=cell_px, font=font)
    layout = _layout(shown)
    refuse_too_large(layout.width, layout.height)
    mode = "RGB" if any(image.mode == "RGB" for image in shown.images.values()) else "L"
    canvas = Pillow.new(mode, (layout.width, layout.height), "white")
    for place, at in layout.cells.items():
        if place in shown.images:
            canvas.paste(shown.images[place].convert(mode), (at.left, at.top))
        else:
            box = (at.left, at.top, at.left + at.width - 1, at.top + at.height - 1)
            ImageDraw.Draw(canvas).rectangle(box, outline=(FRAME_GREY,) * 3 if mode == "RGB" else FRAME_GREY)
    for block, at, align in layout.labels:
        canvas.paste(block.image(align), (at.left, at.top))
    return Figure(
        pixels=np.asarray(canvas),
        text=shown.text,
        cells=layout.cells,
        labels=tuple(at for _, at, _ in layout.labels),
    )


def refuse_too_large(width_px: int, height_px: int) -> None:
    """Raise `InputError` if a figure would have more than `MAX_PIXELS` pixels."""
    if width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"The figure would have {width_px} × {height_px} pixels; {MAX_PIXELS} are the limit.",
            "Show fewer rows and columns with --select, or smaller stimuli with --cell-px.",
        )


def _layout(shown: Shown) -> Layout:
    side = shown.side_px
    letters = max(SMALLEST_LABEL_PX, round(LABEL_SHARE * side))
    gap = max(SMALLEST_GAP_PX, round(GAP_SHARE * side))
    grid, names, notes = shown.grid, shown.names, shown.notes
    above = [(names["column", name], side) for name in grid.columns]
    beside = [(names["row", name], max(side, ROW_LABEL_LETTERS * letters)) for name in grid.rows]
    blocks = fit([*above, *beside, *((note, side) for note in notes.values())], shown.typeface, letters)
    columns, rest = blocks[: len(above)], blocks[len(above) :]
    rows, below = rest[: len(beside)], dict(zip(notes, rest[len(beside) :], strict=True))
    return arrange(grid, columns, rows, below, Spacing(side, gap, near=letters // 3, edge=gap))
