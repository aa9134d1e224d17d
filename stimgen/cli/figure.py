"""The command `stimgen figure`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli.errors import say


def figure(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    rows: Annotated[str, typer.Option("--rows", help="condition, source or seed.")] = "condition",
    columns: Annotated[str, typer.Option("--columns", help="Another of these.")] = "source",
    select: Annotated[
        list[str] | None,
        typer.Option("--select", help="What to show, in this order: condition=pool1,pool2. Repeatable."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Text in place of a name: NAME=TEXT. Repeatable."),
    ] = None,
    annotate: Annotated[
        str | None,
        typer.Option("--annotate", help="Column of stimuli.csv whose value is written below each stimulus."),
    ] = None,
    cell_px: Annotated[
        int | None,
        typer.Option(
            "--cell-px", min=16, max=4096, help="Resize stimuli to this side. Default: as they are."
        ),
    ] = None,
    font: Annotated[Path | None, typer.Option("--font", help="Font file for labels (.ttf, .otf).")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="PNG file. Default: RUN/figures/ROWS-by-COLUMNS.png.")
    ] = None,
) -> None:
    """Draw stimuli of finished runs as a labelled grid, in their own pixels.

    What is neither rows nor columns is the same in all cells: what --select says, or the first seed,
    source or layer set. The PNG file names its stimuli with their SHA-256.

    For example:

      stimgen figure results/exp1

      stimgen figure results/exp1 --rows source --columns condition --select source=brick,grass

      stimgen figure results/exp1 --label pool4="pool4, 177k parameters" --annotate gram_relative_held_out

      stimgen figure results/exp1 results/exp2 --select seed=2 --cell-px 128 --out figure.png
    """
    from stimgen.report.captions import parse_labels
    from stimgen.report.figure import draw_figure
    from stimgen.report.finished import read_run
    from stimgen.report.grid import make_grid, parse_select
    from stimgen.report.write import figure_path, write_figure

    finished = [read_run(folder) for folder in runs]
    grid = make_grid(finished, rows=rows, columns=columns, select=parse_select(select or []))
    path = figure_path(finished, grid, out)
    drawn = draw_figure(grid, labels=parse_labels(label or []), annotate=annotate, cell_px=cell_px, font=font)
    write_figure(drawn, path)
    empty = len(drawn.cells) - len(grid.cells)
    say(
        f"{len(grid.cells)} stimuli, {grid.fixed_key} {grid.fixed}"
        f"{f', empty cells: {empty}' if empty else ''}. Figure: {path}"
    )
