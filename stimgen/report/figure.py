"""A figure: stimuli of finished runs as a labelled grid, in their own pixels."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

import stimgen
from stimgen.bounded import read_file
from stimgen.errors import InputError, nearest
from stimgen.images.read import decode
from stimgen.images.samples import MAX_PIXELS
from stimgen.report.finished import RUN_AGAIN
from stimgen.report.grid import Cell, Grid
from stimgen.report.labels import Block, Typeface, find_typeface, fit, normalised
from stimgen.runs.store import MOST_BYTES

FRAME_GREY = 176
SMALLEST_LABEL_PX = 12
LABEL_SHARE = 0.1
"""Size of letters as a share of the side of a stimulus."""
GAP_SHARE, SMALLEST_GAP_PX = 0.05, 6
ROW_LABEL_LETTERS = 8
"""How many times the size of its letters a row's label may take before it gets a second line, at least."""


@dataclass(frozen=True)
class Place:
    """Where a rectangle lies in a figure: its left and upper edge, width and height, px."""

    left: int
    top: int
    width: int
    height: int


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
    grid
        What is shown where.
    labels
        Texts in place of names of rows and columns, by name.
    annotate
        Column of stimuli.csv whose value is written below each stimulus, with its unit if it has one.
    cell_px
        Side to which stimuli are resized, by Lanczos' filter; by default they keep their pixels.
    font
        Font file; by default one is found (see `stimgen.report.labels.find_typeface`).

    Raises
    ------
    InputError
        If a PNG file is missing or not the one in the table, stimuli differ in size, a label is of nothing,
        the column is unknown or not a number, or the figure has more than `MAX_PIXELS` pixels.
    """
    names = _texts(grid, labels or {})
    notes = {} if annotate is None else {at: _annotation(cell, annotate) for at, cell in grid.cells.items()}
    # What is written is checked first, because reading images takes time.
    typeface = find_typeface([*names.values(), *notes.values()], font)
    images = {place: _image(cell) for place, cell in grid.cells.items()}
    side = _side(grid, images, cell_px)
    layout = _layout(grid, names, notes, typeface, side)
    if layout.width * layout.height > MAX_PIXELS:
        raise InputError(
            f"The figure would have {layout.width} × {layout.height} pixels; {MAX_PIXELS} are the limit.",
            "Show fewer rows and columns with --select, or smaller stimuli with --cell-px.",
        )
    mode = "RGB" if any(image.mode == "RGB" for image in images.values()) else "L"
    canvas = Pillow.new(mode, (layout.width, layout.height), "white")
    for place, at in layout.cells.items():
        if place in images:
            image = images[place].convert(mode)
            if image.width != side:
                image = image.resize((side, side), Pillow.Resampling.LANCZOS)
            canvas.paste(image, (at.left, at.top))
        else:
            box = (at.left, at.top, at.left + side - 1, at.top + side - 1)
            ImageDraw.Draw(canvas).rectangle(box, outline=(FRAME_GREY,) * 3 if mode == "RGB" else FRAME_GREY)
    for block, at, align in layout.labels:
        canvas.paste(block.image(align), (at.left, at.top))
    resized = sorted({image.width for image in images.values()} - {side})
    return Figure(
        pixels=np.asarray(canvas),
        text=_metadata(grid, annotate, resized, side, typeface),
        cells=layout.cells,
        labels=tuple(at for _, at, _ in layout.labels),
    )


def parse_labels(options: Sequence[str]) -> dict[str, str]:
    """Return the labels by name that a command line gives as NAME=TEXT.

    Raises
    ------
    InputError
        If an option is something else, or a name is given twice.
    """
    labels: dict[str, str] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise InputError(
                f'--label "{option}" has no "=".', 'Write --label pool4="pool4, 177k parameters".'
            )
        if name in labels:
            raise InputError(f'--label gives "{name}" two labels.', "Give one.")
        labels[name] = text
    return labels


def two_digits(cell: str) -> str:
    """Return a number of a table in two significant digits; whole numbers stay as they are.

    Raises
    ------
    ValueError
        If it is not a number.

    Examples
    --------
    >>> two_digits("0.04951"), two_digits("134"), two_digits("134.2"), two_digits("0.0000123")
    ('0.050', '134', '130', '1.2e-05')
    """
    if re.fullmatch(r"[-+]?[0-9]+", cell):
        return cell
    value = float(cell)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if -5 < exponent < 6 else rounded


@dataclass(frozen=True)
class _Layout:
    width: int
    height: int
    cells: Mapping[tuple[str, str], Place]
    labels: tuple[tuple[Block, Place, str], ...]


def _layout(
    grid: Grid,
    names: Mapping[tuple[str, str], str],
    notes: Mapping[tuple[str, str], str],
    typeface: Typeface,
    side: int,
) -> _Layout:
    letters = max(SMALLEST_LABEL_PX, round(LABEL_SHARE * side))
    gap = max(SMALLEST_GAP_PX, round(GAP_SHARE * side))
    near = letters // 3  # from a text to what it is about
    above = [(names["column", name], side) for name in grid.columns]
    beside = [(names["row", name], max(side, ROW_LABEL_LETTERS * letters)) for name in grid.rows]
    blocks = fit([*above, *beside, *((note, side) for note in notes.values())], typeface, letters)
    columns, rest = blocks[: len(above)], blocks[len(above) :]
    rows, below = rest[: len(beside)], dict(zip(notes, rest[len(beside) :], strict=True))

    header = max(block.height for block in columns)
    margin = max(block.width for block in rows)
    note = max((block.height for block in below.values()), default=0)
    tall = side + (note + near if note else 0)
    # A single letter may be wider than a stimulus, and a long text in many lines taller.
    wide_step = max(side, *(block.width for block in (*columns, *below.values()))) + gap
    tall_step = max(tall, *(block.height for block in rows)) + gap
    left = gap + (margin + near if margin else 0)
    top = gap + (header + near if header else 0)

    cells, placed = {}, []
    for j, (column, block) in enumerate(zip(grid.columns, columns, strict=True)):
        centre = left + j * wide_step + (wide_step - gap) // 2
        placed.append((block, _centred(block, centre, gap + header - block.height), "centre"))
        for i, row in enumerate(grid.rows):
            at = Place(centre - side // 2, top + i * tall_step, side, side)
            cells[row, column] = at
            if (row, column) in below:
                text = below[row, column]
                placed.append((text, _centred(text, centre, at.top + side + near), "centre"))
    for i, block in enumerate(rows):
        # Beside the middle of the stimulus, or as far down as a tall label needs.
        y = top + i * tall_step + max(0, (side - block.height) // 2)
        placed.append((block, Place(gap + margin - block.width, y, block.width, block.height), "right"))
    return _Layout(
        width=left + len(grid.columns) * wide_step,
        height=top + len(grid.rows) * tall_step,
        cells=cells,
        labels=tuple(entry for entry in placed if entry[0].lines),
    )


def _centred(block: Block, centre: int, top: int) -> Place:
    return Place(centre - block.width // 2, top, block.width, block.height)


def _texts(grid: Grid, labels: Mapping[str, str]) -> dict[tuple[str, str], str]:
    shown = [*grid.rows, *grid.columns]
    unknown = next((name for name in labels if name not in shown), None)
    if unknown is not None:
        raise InputError(f'--label: no row or column is called "{unknown}".', nearest(unknown, shown))
    texts = {}
    for side, key, names in (("row", grid.rows_key, grid.rows), ("column", grid.columns_key, grid.columns)):
        for name in names:
            plain = f"seed {name}" if key == "seed" else name
            texts[side, name] = normalised(labels.get(name, plain))
    return texts


def _annotation(cell: Cell, column: str) -> str:
    if column not in cell.row:
        raise InputError(
            f'--annotate: {cell.run.folder / "stimuli.csv"} has no column "{column}".',
            nearest(column, list(cell.row)),
        )
    value = cell.row[column]
    if not value:
        return ""
    try:
        number = two_digits(value)
    except ValueError:
        raise InputError(
            f'--annotate: the column {column} holds "{value}", which is not a number.',
            "Choose a column of numbers; stimuli.json describes them all.",
        ) from None
    return normalised(f"{number} {cell.run.units.get(column, '')}")


def _image(cell: Cell) -> Pillow.Image:
    path = cell.run.folder / cell.row["filename"]
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", RUN_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != cell.png_sha256:
        raise InputError(
            f"{path} is not the file that stimuli.csv describes: its SHA-256 is another.", RUN_AGAIN
        )
    try:
        samples, file_format = decode(content, str(path))
    except InputError as error:
        raise InputError(error.problem, RUN_AGAIN) from None
    height, width = samples.values.shape[:2]
    if (file_format, samples.bits, samples.transparent) != ("PNG", 8, 0) or height != width:
        raise InputError(f"{path} is not a square 8-bit PNG in grey or RGB.", RUN_AGAIN)
    return Pillow.fromarray(samples.values)


def _side(grid: Grid, images: Mapping[tuple[str, str], Pillow.Image], cell_px: int | None) -> int:
    if cell_px is not None:
        return cell_px
    sides = {image.width: grid.cells[place].run.folder for place, image in images.items()}
    if len(sides) > 1:
        (one, first), (other, second), *_ = sides.items()
        raise InputError(
            f"The stimuli in {first} have {one} px a side, those in {second} {other} px.",
            "Give a side to which all are resized with --cell-px.",
        )
    return next(iter(sides))


def _metadata(
    grid: Grid, annotate: str | None, resized: Sequence[int], side: int, typeface: Typeface
) -> dict[str, str]:
    runs = list(dict.fromkeys(cell.run.name for cell in grid.cells.values()))
    stimuli = [
        {
            "row": row,
            "column": column,
            "run": cell.run.name,
            "stimulus_id": cell.stimulus_id,
            "png_sha256": cell.png_sha256,
        }
        for (row, column), cell in grid.cells.items()
    ]
    sizes = " and ".join(str(size) for size in resized)
    return {
        "Software": f"stimgen {stimgen.__version__}",
        "Run": ", ".join(runs),
        "Rows": grid.rows_key,
        "Columns": grid.columns_key,
        "Fixed": f"{grid.fixed_key}={grid.fixed}",
        "Annotation": annotate or "none",
        "Resampling": f"Lanczos, from {sizes} px to {side} px a side" if resized else "none",
        "Font": typeface.name,
        "Stimuli": json.dumps(stimuli, ensure_ascii=False),
    }
