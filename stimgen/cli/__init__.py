"""The command line: one module per command, put together here.

Modules that import torch are imported inside the commands that need them, so that --help and check answer
at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from stimgen import __version__
from stimgen.cli import cluster, weights
from stimgen.cli.check import check, schema
from stimgen.cli.decode import decode
from stimgen.cli.errors import Commands, release_output, say, settle_streams
from stimgen.cli.figure import figure
from stimgen.cli.new import new
from stimgen.cli.report import report
from stimgen.cli.run import run
from stimgen.cli.stats import stats
from stimgen.cli.tables import tables
from stimgen.cli.trials import trials
from stimgen.cli.verify import verify
from stimgen.errors import of_the_machine, printable
from stimgen.runs.interrupts import ASKED_TO_END

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Make": (new, run, trials),
    "Check": (check, verify, tables),
    "Look": (report, figure),
    "Analyse": (stats, decode),
    "Set up": (schema,),
}
"""The commands under the headings of --help, in its order."""

COMMON = "With every command: --debug for tracebacks, --log FILE for what happens, in JSON lines."

for panel, commands in PANELS.items():
    for command in commands:
        # What a shell puts in place of a pattern without quotes comes as more arguments.
        settings = {"allow_extra_args": True} if command is new else {}
        app.command(rich_help_panel=panel, context_settings=settings, epilog=COMMON)(command)
app.add_typer(weights.app, name="weights", rich_help_panel="Set up")
app.add_typer(cluster.app, name="cluster", rich_help_panel="Set up")


def main() -> None:
    """Run the command line; signals that Slurm, a shutdown or a closed terminal send are as Ctrl-C."""
    for number in ASKED_TO_END:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    settle_streams()
    try:
        app(prog_name="stimgen")
    except OSError as error:  # what is printed before a command begins, to a full disk
        say(str(of_the_machine(error) or error))
        raise SystemExit(4) from None
    finally:
        release_output()


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"stimgen {__version__}")
        if sys.stdout is not None:
            sys.stdout.flush()  # for those who read the first line alone
        from stimgen.runs.environment import report_lines

        for line in report_lines():
            typer.echo(printable(line))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version, and after it what a report of a bug should say.",
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Also after the command.")] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="FILE", help="Append what happens, in JSON lines. Also after the command."
        ),
    ] = None,
) -> None:
    """Texture stimuli for vision science, with the statistics that prove what was shown.

    For example:

      stimgen check manifests/quickstart.yaml

      stimgen run manifests/quickstart.yaml

      stimgen run manifests/quickstart.yaml --log night.jsonl

      stimgen run --help
    """
