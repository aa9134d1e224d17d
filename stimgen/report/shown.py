"""What a figure shows, in whatever format: stimuli, what is written, and where both come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import stimgen
from stimgen.bounded import read_file
from stimgen.errors import InputError
from stimgen.images.png import encode_png
from stimgen.images.read import decode
from stimgen.report.captions import names, note
from stimgen.report.finished import RUN_AGAIN
from stimgen.report.grid import Cell, Grid
from stimgen.report.labels import Typeface, find_typeface
from stimgen.runs.store import MOST_BYTES

FRAME_GREY = 176
"""Of the thin frame of a cell without a stimulus."""


@dataclass(frozen=True)
class Shown:
    """Stimuli and texts of a figure, which have no places yet.

    Attributes
    ----------
    grid
        What is shown where.
    names
        What is written beside rows and above columns, by "row" or "column" and name.
    notes
        What is written below stimuli, by the names of row and column; empty without annotations.
    typeface
        A font that has all characters.
    images
        Stimuli by the names of row and column, square, all of one size; 8-bit grey or RGB, each as its file.
    files
        The same as PNG files: those of the run, unless they were resized.
    side_px
        Their side.
    text
        What the figure's file says about itself, by keyword.
    """

    grid: Grid
    names: Mapping[tuple[str, str], str]
    notes: Mapping[tuple[str, str], str]
    typeface: Typeface
    images: Mapping[tuple[str, str], Pillow.Image] = field(repr=False)
    files: Mapping[tuple[str, str], bytes] = field(repr=False)
    side_px: int
    text: Mapping[str, str] = field(repr=False)


def show(
    grid: Grid,
    *,
    labels: Mapping[str, str] | None = None,
    annotate: str | None = None,
    cell_px: int | None = None,
    font: Path | None = None,
    preferred: Sequence[str] = (),
) -> Shown:
    """Return what a figure of a grid shows.

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
    preferred
        Fonts that are tried first then.

    Raises
    ------
    InputError
        If a PNG file is missing or not the one in the table, stimuli differ in size, a label is of nothing,
        or the column is unknown or not a number.
    """
    written = names(grid, labels or {})
    notes = {} if annotate is None else {at: note(cell, annotate) for at, cell in grid.cells.items()}
    # What is written is checked first, because reading images takes time.
    typeface = find_typeface([*written.values(), *notes.values()], font, preferred=preferred)
    files = {place: _content(cell) for place, cell in grid.cells.items()}
    images = {place: _image(cell, files[place]) for place, cell in grid.cells.items()}
    side = _side(grid, images, cell_px)
    resized = sorted({image.width for image in images.values()} - {side})
    for place, image in images.items():
        if image.width != side:
            images[place] = image.resize((side, side), Pillow.Resampling.LANCZOS)
            files[place] = encode_png(np.asarray(images[place]))
    text = _metadata(grid, annotate, resized, side, typeface)
    return Shown(grid, written, notes, typeface, images, files, side, text)


def _content(cell: Cell) -> bytes:
    path = cell.run.folder / cell.row["filename"]
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", RUN_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != cell.png_sha256:
        raise InputError(
            f"{path} is not the file that stimuli.csv describes: its SHA-256 is another.", RUN_AGAIN
        )
    return content


def _image(cell: Cell, content: bytes) -> Pillow.Image:
    path = cell.run.folder / cell.row["filename"]
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
