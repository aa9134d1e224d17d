"""What a figure of stimuli shows in any format: images, texts, and where both come from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Pillow

import stimgen
from stimgen.bounded import read_file
from stimgen.errors import InputError, StimgenError, nearest
from stimgen.images.png import decode_png, quantise
from stimgen.report.grid import Cell, Grid
from stimgen.report.labels import Font, find_font, normalised
from stimgen.report.reported import RUN_AGAIN, ReportedRun
from stimgen.runs.store import MOST_BYTES, RunFolder, StoreError, write_atomically

FORMATS = ("png", "pdf", "svg")
Place = tuple[str, str]
"""Names of a row and a column."""


@dataclass(frozen=True)
class Content:
    """Stimuli and texts of a figure, before they are arranged.

    Images are (N, N) or (N, N, 3) uint8, all of one side N. Labels are "" for none, and `notes` are written
    below stimuli. `text` is what the figure's file says about itself, by keyword.
    """

    grid: Grid
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    notes: Mapping[Place, str]
    font: Font
    images: Mapping[Place, NDArray[np.uint8]] = field(repr=False)
    text: Mapping[str, str] = field(repr=False)

    @property
    def side_px(self) -> int:
        """Side of the images."""
        return len(next(iter(self.images.values())))


def read_content(
    grid: Grid,
    *,
    labels: Mapping[str, str] | None = None,
    annotate: str | None = None,
    cell_px: int | None = None,
    font: Path | None = None,
) -> Content:
    """Return what a figure of a grid shows."""
    labels = labels or {}
    shown = [*grid.rows, *grid.columns]
    if unknown := [name for name in labels if name not in shown]:
        raise InputError(f'--label: no row or column is called "{unknown[0]}".', nearest(unknown[0], shown))
    rows = tuple(_label(name, grid.rows_key, labels) for name in grid.rows)
    columns = tuple(_label(name, grid.columns_key, labels) for name in grid.columns)
    notes = {} if annotate is None else {place: _note(cell, annotate) for place, cell in grid.cells.items()}
    # Texts are checked first, because reading images takes time.
    found_font = find_font([*rows, *columns, *notes.values()], font)
    images = {place: _read(cell) for place, cell in grid.cells.items()}
    folders = {len(image): grid.cells[place].run.folder for place, image in images.items()}
    if len(folders) > 1 and cell_px is None:
        (first_px, first), (second_px, second), *_ = folders.items()
        raise InputError(
            f"The stimuli in {first} have {first_px} px a side, those in {second} {second_px} px.",
            "Give a side to which all are resized with --cell-px.",
        )
    side = cell_px or min(folders)
    images = {place: _resized(image, side) for place, image in images.items()}
    sizes = " and ".join(str(size) for size in sorted(folders) if size != side)
    runs = dict.fromkeys(cell.run.name for cell in grid.cells.values())
    about = ("row", "column", "run", "stimulus_id", "png_sha256")
    stimuli = [
        dict(zip(about, (*place, cell.run.name, cell.stimulus_id, cell.png_sha256), strict=True))
        for place, cell in grid.cells.items()
    ]
    text = {
        "Software": f"stimgen {stimgen.__version__}",
        "Run": ", ".join(runs),
        "Rows": grid.rows_key,
        "Columns": grid.columns_key,
        "Fixed": f"{grid.fixed_key}={grid.fixed}",
        "Annotation": annotate or "none",
        "Resampling": f"Lanczos, from {sizes} px to {side} px a side" if sizes else "none",
        "Font": found_font.names[0],
        "Stimuli": json.dumps(stimuli, ensure_ascii=False),
    }
    return Content(grid, rows, columns, notes, found_font, images, text)


def parse_labels(options: Sequence[str]) -> dict[str, str]:
    """Return the labels by name that a command line gives as NAME=TEXT; other options raise InputError."""
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


def _label(name: str, key: str, labels: Mapping[str, str]) -> str:
    return normalised(labels.get(name, f"seed {name}" if key == "seed" else name))


def _note(cell: Cell, column: str) -> str:
    """Return a value of a stimulus in its table, with its unit."""
    if column not in cell.row:
        raise InputError(
            f'--annotate: {cell.run.folder / "stimuli.csv"} has no column "{column}".',
            nearest(column, [str(name) for name in cell.row]),
        )
    value = cell.row[column]
    if pd.isna(value):
        return ""
    if isinstance(value, str | bool | np.bool_):
        raise InputError(
            f'--annotate: the column {column} holds "{value}", which is not a number.',
            "Choose a column of numbers; stimuli.json describes them all.",
        )
    unit = cell.run.dictionary.get(column, {}).get("Units", "")
    return normalised(f"{two_digits(value)} {unit}")


def two_digits(value: float) -> str:
    """Return a number in two significant digits; integers stay as they are.

    Examples
    --------
    >>> two_digits(0.04951), two_digits(134), two_digits(134.2), two_digits(0.0000123)
    ('0.050', '134', '130', '1.2e-05')
    """
    if isinstance(value, int | np.integer):
        return str(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.1e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, 1 - exponent)}f}" if -5 < exponent < 6 else rounded


def _read(cell: Cell) -> NDArray[np.uint8]:
    path = Path(str(cell.row["path"]))
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", RUN_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != cell.png_sha256:
        message = f"{path} is not the file that stimuli.csv describes: its SHA-256 is another."
        raise InputError(message, RUN_AGAIN)
    try:
        pixels = quantise(decode_png(content))
    except StimgenError as error:
        raise InputError(f"{path}: {error.problem}", RUN_AGAIN) from None
    if pixels.shape[0] != pixels.shape[1]:
        raise InputError(f"{path} is not square.", RUN_AGAIN)
    return pixels


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if len(image) == side:
        return image
    return np.asarray(Pillow.fromarray(image).resize((side, side), Pillow.Resampling.LANCZOS))


def figure_format(out: Path | None, asked: str | None) -> str:
    """Return the format of a figure: what is asked for, or else the ending of `out`, or else PNG.

    It raises InputError if there is no such format, or `out` has another ending.
    """
    if asked is not None and asked not in FORMATS:
        raise InputError(f'--format: unknown format "{asked}".', nearest(asked, FORMATS))
    ending = out.suffix.lower().removeprefix(".") if out is not None else asked or FORMATS[0]
    if ending not in FORMATS:
        message = f"--out {out} is not a PNG, PDF or SVG file."
        raise InputError(message, "Name a file that ends in .png, .pdf or .svg.")
    if asked not in (None, ending):
        message = f"--out {out} is no {asked} file."
        raise InputError(message, f"Name one that ends in .{asked}, or leave --format out.")
    return ending


def figure_path(runs: Sequence[ReportedRun], grid: Grid, out: Path | None, ending: str) -> Path:
    """Return the file of a figure: `out`, or figures/ROWS-by-COLUMNS.ENDING in the folder of the only run.

    It raises InputError if `out` is missing and there are several runs, is not in a folder that exists, or is
    among the stimuli or records of a run.
    """
    if out is None:
        if len(runs) > 1:
            message = f"{len(runs)} runs, and no file for their figure."
            raise InputError(message, f"Name one with --out FILE.{ending}.")
        folder = RunFolder(runs[0].folder)
        folder.refuse_links()
        return folder.figures / f"{grid.rows_key}-by-{grid.columns_key}.{ending}"
    if not out.parent.is_dir():
        message = f"--out {out} is not in a folder that exists."
        raise InputError(message, "Make the folder, or choose another.")
    for run in runs:
        folder = RunFolder(run.folder)
        if any(out.resolve().is_relative_to(kept.resolve()) for kept in (folder.stimuli, folder.records)):
            message = f"--out {out} lies among the stimuli and records of a run."
            raise InputError(message, f"Choose another folder, such as {folder.figures}.")
    return out


def write_figure(content: bytes, path: Path) -> None:
    """Write the file of a figure; raise StoreError if it cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        message = f"The folder {path.parent} cannot be made: {error.strerror}."
        raise StoreError(message, "Name a file elsewhere with --out.") from error
    write_atomically(path, content)
