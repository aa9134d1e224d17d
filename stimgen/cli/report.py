"""The commands that show runs: `stimgen report` and `stimgen figure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import option
from stimgen.cli.errors import say
from stimgen.errors import InputError

if TYPE_CHECKING:
    from stimgen.report.drawing import Sheet

AXES = ("condition", "source", "seed")


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders, finished or not.", autocompletion=completion.run_folders
        ),
    ],
    out: Annotated[Path | None, option("HTML file. Default: RUN/report.html.")] = None,
) -> None:
    """Show runs on one page: images, plots, the table, and a Methods paragraph.

    The page is one HTML file that needs no network. Images in full size are linked to where they are.

    For example:
      stimgen report results/exp1
      stimgen report results/exp1 results/exp2 --out comparison.html
    """
    from stimgen.report.page import write_report

    path = write_report(runs, out)
    say(f"Report: {path}")


def figure(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of finished runs.", autocompletion=completion.run_folders
        ),
    ],
    rows: Annotated[
        str, option("condition, source or seed.", complete=completion.one_of(*AXES))
    ] = "condition",
    columns: Annotated[str, option("Another of these.", complete=completion.one_of(*AXES))] = "source",
    select: Annotated[
        list[str] | None, option("What to show, in this order: condition=pool1,pool2. Repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None, option("Text in place of a name: NAME=TEXT. Repeatable.", complete=completion.names)
    ] = None,
    annotate: Annotated[
        str | None,
        option(
            "Column of stimuli.csv whose value is written below each stimulus.", complete=completion.columns
        ),
    ] = None,
    cell_px: Annotated[
        int | None, option("Resize stimuli to this side. Default: as they are.", min=16, max=4096)
    ] = None,
    font: Annotated[Path | None, option("Font file for labels (.ttf, .otf).")] = None,
    width: Annotated[
        str | None,
        option(
            "Width on paper, mm, or single (89), double (183). Default of PDF and SVG: single.",
            "--width",
            "--width-mm",
            metavar="MM",
        ),
    ] = None,
    font_pt: Annotated[
        float | None, option("Size of letters on paper, points. Default: 7.", min=4, max=36)
    ] = None,
    dpi: Annotated[
        int | None,
        option("Least resolution of a PNG with --width, pixels per inch. Default 300.", min=72, max=2400),
    ] = None,
    file_format: Annotated[
        str | None, option("png, pdf or svg. Default: as --out ends, or png.", "--format")
    ] = None,
    out: Annotated[
        Path | None, option("PNG, PDF or SVG file. Default: RUN/figures/ROWS-by-COLUMNS.FORMAT.")
    ] = None,
) -> None:
    """Draw stimuli of finished runs as a labelled grid, in their own pixels.

    What is neither rows nor columns is the same in all cells: what --select says, or the first seed,
    source or layer set. The file names its stimuli with their SHA-256.

    PDF and SVG files are for papers: text is text, and stimuli are not resampled.

    For example:
      stimgen figure results/exp1
      stimgen figure results/exp1 --rows source --columns condition --select source=brick,grass
      stimgen figure results/exp1 --label pool4="pool4, 177k parameters" --annotate gram_relative_held_out
      stimgen figure results/exp1 results/exp2 --select seed=2 --cell-px 128 --out figure.png
      stimgen figure results/exp1 --width double --out figure.pdf
      stimgen figure results/exp1 --width 120 --font-pt 8 --font Arial.ttf --format svg
    """
    from stimgen.report import figure as contents
    from stimgen.report.reported import read_runs

    ending = contents.figure_format(out, file_format)
    if ending != "png" and dpi is not None:
        raise InputError(
            f"--dpi is for PNG files: in {ending.upper()}, stimuli keep their pixels and text has none.",
            "Leave it out.",
        )
    if ending == "png" and width is None and (font_pt, dpi) != (None, None):
        given = "--dpi" if font_pt is None else "--font-pt"
        raise InputError(f"{given} needs a width on paper.", "Give one, such as --width single.")
    read = read_runs(runs, check=False)
    grid = contents.make_grid(read, rows=rows, columns=columns, select=contents.parse_select(select or []))
    path = contents.figure_path(read, grid, out, ending)
    content = contents.read_content(
        grid, labels=contents.parse_labels(label or []), annotate=annotate, cell_px=cell_px, font=font
    )

    from stimgen.report.drawing import ASKED_PPI, FONT_PT, arrange, encode, parse_width

    width_mm = None if ending == "png" and width is None else parse_width(width or "single")
    sheet = arrange(content, width_mm, font_pt or FONT_PT)
    contents.write_figure(encode(sheet, ending, dpi or ASKED_PPI), path)
    empty = len(grid.rows) * len(grid.columns) - len(grid.cells)
    shown = out or runs[0] / path.parent.name / path.name  # as the run was named
    say(
        f"{len(grid.cells)} stimuli, {grid.fixed_key} {grid.fixed}"
        f"{f', empty cells: {empty}' if empty else ''}. Figure: {shown}{_on_paper(sheet)}"
    )


def _on_paper(sheet: Sheet) -> str:
    """Return the size of a figure on paper, and a hint if journals want a higher resolution."""
    from stimgen.report.drawing import ASKED_PPI

    if sheet.width_mm is None:
        return ""
    text = (
        f"\n{sheet.width_mm:g} × {sheet.height_mm:.4g} mm, letters {sheet.letters / sheet.pt:g} pt "
        f"({sheet.content.font.names[0]}), stimuli {sheet.ppi:.0f} ppi."
    )
    if sheet.ppi >= ASKED_PPI:
        return text
    side_px, side_mm = sheet.content.side_px, sheet.content.side_px / ASKED_PPI * 25.4
    return (
        f"{text}\nJournals ask for {ASKED_PPI} ppi of photographs: stimuli of {side_px} px have that up to "
        f"{side_mm:.1f} mm a side."
    )
