"""Where figures go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stimgen.errors import InputError
from stimgen.images.png import encode_png
from stimgen.report.figure import Figure
from stimgen.report.finished import FinishedRun
from stimgen.report.grid import Grid
from stimgen.runs.store import RunFolder, StoreError, write_atomically


def figure_path(runs: Sequence[FinishedRun], grid: Grid, out: Path | None) -> Path:
    """Return the file of a figure: `out`, or figures/ROWS-by-COLUMNS.png in the folder of the only run.

    Raises
    ------
    InputError
        If `out` is not a PNG file in a folder that exists, or is among the stimuli or records of a run; if
        it is needed, because there are several runs; if a folder in the run folder is a link.
    """
    if out is None:
        if len(runs) > 1:
            raise InputError(
                f"{len(runs)} runs, and no file for their figure.", "Name one with --out FILE.png."
            )
        own = RunFolder(runs[0].folder)
        own.refuse_links()
        return own.figures / f"{grid.rows_key}-by-{grid.columns_key}.png"
    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        raise InputError(
            f"--out {out} is not a PNG file in a folder that exists.",
            "Name a file that ends in .png; other programs put a PNG into a PDF as it is.",
        )
    for run in runs:
        folder = RunFolder(run.folder)
        if out.resolve().parent in (folder.stimuli.resolve(), folder.records.resolve()):
            raise InputError(
                f"--out {out} lies among the stimuli and records of a run.",
                f"Choose another folder, such as {run.folder / 'figures'}.",
            )
    return out


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same figure.

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
    write_atomically(path, encode_png(figure.pixels, text=dict(figure.text)))
