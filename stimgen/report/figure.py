"""What a figure of stimuli shows in any format: rows and columns, images and texts."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Pillow

import stimgen
from stimgen.bounded import read_file
from stimgen.errors import InputError, StimgenError, nearest
from stimgen.images.png import decode_png, quantise
from stimgen.report.labels import Font, find_font, normalised
from stimgen.report.reported import RUN_AGAIN, ReportedRun
from stimgen.runs.store import MOST_BYTES, RunFolder, StoreError, write_atomically

FORMATS = ("png", "pdf", "svg")
Place = tuple[str, str]
"""Names of a row and a column."""
Key = Literal["condition", "source", "seed"]
KEYS: tuple[Key, ...] = ("condition", "source", "seed")


class Cell(NamedTuple):
    """A stimulus in a figure: its run, its row of stimuli.csv, its id, and the SHA-256 of its PNG file."""

    run: ReportedRun
    row: Mapping[Hashable, Any]
    stimulus_id: str
    png_sha256: str


@dataclass(frozen=True)
class Grid:
    """What a figure shows: what rows and columns are and their names, and what is the same in all cells.

    `cells` has each stimulus by the names of its row and column. Stimuli without a seed are shown for every
    seed.
    """

    rows_key: Key
    columns_key: Key
    fixed_key: Key
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    fixed: str
    cells: Mapping[tuple[str, str], Cell] = field(repr=False)


def parse_select(options: Sequence[str]) -> dict[Key, tuple[str, ...]]:
    """Return the names to show by key, in the order of the command line; other options raise InputError.

    Examples
    --------
    >>> parse_select(["condition=pool1,pool2", "seed=2"])
    {'condition': ('pool1', 'pool2'), 'seed': ('2',)}
    """
    selected: dict[Key, tuple[str, ...]] = {}
    for option in options:
        word, equals, names = option.partition("=")
        if not equals:
            raise InputError(f'--select "{option}" has no "=".', "Write --select condition=pool1,pool2.")
        key = _key(word.strip(), "--select")
        chosen = selected.get(key, ()) + tuple(name.strip() for name in names.split(","))
        twice = next((name for name in chosen if chosen.count(name) > 1), None)
        if twice is not None:
            raise InputError(f'--select {key} names "{twice}" twice.', "Name it once.")
        selected[key] = chosen
    return selected


def make_grid(
    runs: Sequence[ReportedRun],
    *,
    rows: str = "condition",
    columns: str = "source",
    select: Mapping[Key, tuple[str, ...]] | None = None,
) -> Grid:
    """Return which stimuli of some runs are shown where.

    Names are in the order of `select`, or else of the manifests: originals, layer sets, other controls. What
    is the same in all cells is the first name in the manifest (of conditions, the first layer set) unless
    `select` names it.
    """
    rows_key, columns_key = _key(rows, "--rows"), _key(columns, "--columns")
    if rows_key == columns_key:
        raise InputError(f"--rows and --columns are both {rows}.", f"Choose two of {', '.join(KEYS)}.")
    (fixed_key,) = (key for key in KEYS if key not in (rows_key, columns_key))
    selected = dict(select or {})
    shown = {key: _names(runs, key, selected.get(key)) for key in (rows_key, columns_key)}
    fixed, *others = runs[0].names(fixed_key)
    if fixed_key in selected:
        fixed, *others = _names(runs, fixed_key, selected[fixed_key])
        if others:
            raise InputError(
                f"--select {fixed_key} names {len(others) + 1}, and a figure shows one where rows and "
                "columns are others.",
                f"Select one, or make the rows or columns of {fixed_key}.",
            )
    shown[fixed_key] = (fixed,)
    _refuse_different_things_of_one_name(runs, shown)
    found = _find(runs, shown, rows_key, columns_key)
    places = itertools.product(shown[rows_key], shown[columns_key])
    cells = {place: found[place] for place in places if place in found}
    if not cells:
        raise InputError(
            f"There is no stimulus to show with {fixed_key} {fixed}.",
            f"Choose another with --select {fixed_key}=NAME; stimuli.csv lists what there is.",
        )
    return Grid(rows_key, columns_key, fixed_key, shown[rows_key], shown[columns_key], fixed, cells)


def _key(word: str, option: str) -> Key:
    if word not in KEYS:
        raise InputError(f'{option}: unknown key "{word}".', nearest(word, KEYS))
    return word


def _names(runs: Sequence[ReportedRun], key: Key, selected: tuple[str, ...] | None) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(name for run in runs for name in run.names(key)))
    if selected is not None:
        unknown = next((name for name in selected if name not in known), None)
        if unknown is not None:
            raise InputError(f'--select {key}: there is no {key} "{unknown}".', nearest(unknown, known))
        return selected
    originals = {name for run in runs for name in run.originals} if key == "condition" else ()
    return tuple(sorted(known, key=lambda name: name not in originals))


def _refuse_different_things_of_one_name(
    runs: Sequence[ReportedRun], shown: Mapping[Key, tuple[str, ...]]
) -> None:
    for first, second in itertools.combinations(runs, 2):
        for condition in shown["condition"]:
            both = condition in first.names("condition") and condition in second.names("condition")
            if both and not (condition in first.originals and condition in second.originals):
                raise InputError(
                    f'{first.folder} and {second.folder} both have a condition "{condition}".',
                    "Leave it out with --select condition=…, or rename it in one of the manifests.",
                )
        files = [
            dict(zip(run.table["source"], run.table["source_sha256"], strict=True)) for run in (first, second)
        ]
        for source in shown["source"]:
            if source in files[0] and source in files[1] and files[0][source] != files[1][source]:
                raise InputError(
                    f'The source "{source}" is another file in {first.folder} than in {second.folder}.',
                    "Leave it out with --select source=…, or rename it in one of the manifests.",
                )


def _find(
    runs: Sequence[ReportedRun], shown: Mapping[Key, tuple[str, ...]], rows_key: Key, columns_key: Key
) -> dict[tuple[str, str], Cell]:
    """Return the stimuli that are shown, by the names of their row and column."""
    cells: dict[tuple[str, str], Cell] = {}
    for run in runs:
        of_names = run.table["condition"].isin(shown["condition"]) & run.table["source"].isin(shown["source"])
        for row in run.table[of_names].to_dict("records"):
            # A control without randomness is the same whatever the seed.
            seeds = shown["seed"] if pd.isna(row["seed"]) else (str(row["seed"]),)
            for seed in (seed for seed in seeds if seed in shown["seed"]):
                names = {"condition": row["condition"], "source": row["source"], "seed": seed}
                cell = Cell(run, row, row["stimulus_id"], row["png_sha256"].removeprefix("sha256:"))
                known = cells.setdefault((names[rows_key], names[columns_key]), cell)
                if known.png_sha256 != cell.png_sha256:
                    raise InputError(
                        f"{known.stimulus_id} of {known.run.folder} and {cell.stimulus_id} of {run.folder} "
                        "are different images for one cell.",
                        "Leave one of them out with --select condition=… or source=….",
                    )
    return cells


@dataclass(frozen=True)
class Content:
    """Stimuli and texts of a figure, before they are arranged.

    Images are (N, N) or (N, N, 3) uint8, all of one side N. `notes` are written below stimuli. `text` is what
    the figure's file says about itself, by keyword.
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
    rows, columns = (
        tuple(normalised(labels.get(name, f"seed {name}" if key == "seed" else name)) for name in names)
        for key, names in ((grid.rows_key, grid.rows), (grid.columns_key, grid.columns))
    )
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
    for place, image in images.items():
        if len(image) != side:
            resized = Pillow.fromarray(image).resize((side, side), Pillow.Resampling.LANCZOS)
            images[place] = np.asarray(resized)
    sizes = " and ".join(str(size) for size in sorted(folders) if size != side)
    runs = dict.fromkeys(cell.run.name for cell in grid.cells.values())
    stimuli = [
        {"row": row, "column": column, "run": cell.run.name}
        | {"stimulus_id": cell.stimulus_id, "png_sha256": cell.png_sha256}
        for (row, column), cell in grid.cells.items()
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


def _note(cell: Cell, column: str) -> str:
    """Return a value of a stimulus in its table, with its unit."""
    columns = [str(name) for name in cell.row if name != "path"]  # which load_run adds
    if column not in columns:
        raise InputError(
            f'--annotate: {cell.run.folder / "stimuli.csv"} has no column "{column}".',
            nearest(column, columns),
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


def figure_format(out: Path | None, asked: str | None) -> str:
    """Return the format of a figure: what is asked for, or else the ending of `out`, or else PNG."""
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
    """Return the file of a figure: `out`, or figures/ROWS-by-COLUMNS.ENDING in the folder of the only run."""
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
        kept = (folder.stimuli.resolve(), folder.records.resolve())
        if any(out.resolve().is_relative_to(path) for path in kept):
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
