"""The command `stimgen report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.errors import say


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders, finished or not.", autocompletion=completion.run_folders
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="HTML file. Default: RUN/report.html.")] = None,
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
