"""Where figures go, and in which format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stimgen.errors import InputError, nearest
from stimgen.report.finished import FinishedRun
from stimgen.report.grid import Grid
from stimgen.runs.store import RunFolder, StoreError, write_atomically

FORMATS = ("png", "pdf", "svg")


def figure_format(out: Path | None, asked: str | None) -> str:
    """Return the format of a figure: what is asked for, or else the ending of `out`, or else PNG.

    Raises
    ------
    InputError
        If there is no such format, or `out` ends otherwise.
    """
    if asked is not None and asked not in FORMATS:
        raise InputError(f'--format: unknown format "{asked}".', nearest(asked, FORMATS))
    ending = out.suffix.lower().removeprefix(".") if out is not None else asked or FORMATS[0]
    if ending not in FORMATS:
        raise InputError(
            f"--out {out} is not a PNG, PDF or SVG file.",
            "Name a file that ends in .png, .pdf or .svg.",
        )
    if asked not in (None, ending):
        raise InputError(
            f"--out {out} is no {asked} file.", f"Name one that ends in .{asked}, or leave --format out."
        )
    return ending


def figure_path(runs: Sequence[FinishedRun], grid: Grid, out: Path | None, ending: str) -> Path:
    """Return the file of a figure: `out`, or figures/ROWS-by-COLUMNS.ENDING in the folder of the only run.

    Raises
    ------
    InputError
        If `out` is not in a folder that exists, or is among the stimuli or records of a run; if it is needed,
        because there are several runs; if a folder in the run folder is a link.
    """
    if out is None:
        if len(runs) > 1:
            raise InputError(
                f"{len(runs)} runs, and no file for their figure.", f"Name one with --out FILE.{ending}."
            )
        own = RunFolder(runs[0].folder)
        own.refuse_links()
        return own.figures / f"{grid.rows_key}-by-{grid.columns_key}.{ending}"
    if not out.parent.is_dir():
        raise InputError(
            f"--out {out} is not in a folder that exists.", "Make the folder, or choose another."
        )
    for run in runs:
        folder = RunFolder(run.folder)
        if any(out.resolve().is_relative_to(one.resolve()) for one in (folder.stimuli, folder.records)):
            raise InputError(
                f"--out {out} lies among the stimuli and records of a run.",
                f"Choose another folder, such as {run.folder / 'figures'}.",
            )
    return out


def write_figure(content: bytes, path: Path) -> None:
    """Write the file of a figure.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {path.parent} cannot be made: {error.strerror}.", "Name a file elsewhere with --out."
        ) from error
    write_atomically(path, content)
