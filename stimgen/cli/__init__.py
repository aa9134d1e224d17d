"""The command line: the commands of all modules, put together here.

Modules that import torch are imported inside the commands that need them, so that --help and check answer
at once.
"""

from __future__ import annotations

import inspect
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from stimgen import __version__
from stimgen.cli import executors, weights
from stimgen.cli.analyse import decode, stats
from stimgen.cli.check import check, schema, tables, verify
from stimgen.cli.errors import Commands, release_output, say, settle_streams
from stimgen.cli.make import new, run, trials
from stimgen.cli.report import figure, report
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

GROUPS = {
    "weights": (weights.WEIGHTS, (weights.list_, weights.fetch, weights.import_, weights.verify)),
    "cluster": (executors.CLUSTER, (executors.certs,)),
}
"""Commands of commands, with what their --help says."""


def _help(text: str | None) -> str:
    """Return a docstring with its examples in paragraphs of their own, or else they would share a line."""
    return re.sub(r"\n  (?=stimgen)", "\n\n  ", inspect.cleandoc(text or ""))


for panel, commands in PANELS.items():
    for command in commands:
        # What a shell puts in place of a pattern without quotes comes as more arguments.
        settings = {"allow_extra_args": True} if command is new else {}
        register = app.command(
            rich_help_panel=panel, context_settings=settings, epilog=COMMON, help=_help(command.__doc__)
        )
        register(command)
for name, (text, commands) in GROUPS.items():
    group = typer.Typer(no_args_is_help=True, help=_help(text))
    for command in commands:
        group.command(command.__name__.rstrip("_"), help=_help(command.__doc__))(command)
    app.add_typer(group, name=name, rich_help_panel="Set up")


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


PROGRAM = """Texture stimuli for vision science, with the statistics that prove what was shown.

For example:
  stimgen check manifests/quickstart.yaml
  stimgen run manifests/quickstart.yaml
  stimgen run manifests/quickstart.yaml --log night.jsonl
  stimgen run --help
"""


@app.callback(help=_help(PROGRAM))
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
    """Declare the options of all commands."""
