"""The command `stimgen verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import Device
from stimgen.cli.errors import say
from stimgen.errors import printable


def verify(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders),
    ],
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute", help="Measure every PNG file again, which needs the sources and the weights."
        ),
    ] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare every file of a run with what its records and its manifest say.

    Names each file that is missing, altered or not the run's, and the first cell of each table that does not
    follow from the records. Writes nothing. Ends with 0 if all is right, and with 3 if not, or if stimuli are
    not made yet.

    For example:

      stimgen verify results/exp1

      stimgen verify results/exp1 --recompute

      stimgen verify results/exp1 --json > verified.json
    """
    from stimgen.verify.report import as_data, bar, sentences
    from stimgen.verify.run import verify_run

    with bar("verifying", run_folder) as advance:
        result = verify_run(run_folder, advance=advance)
    if recompute:
        from stimgen.verify.recompute import recompute_statistics

        with bar("measuring", run_folder) as advance:
            result = recompute_statistics(result, device=device, advance=advance)
    if as_json:
        import json

        typer.echo(json.dumps(as_data(result), indent=2, ensure_ascii=False))
    else:
        for line in sentences(result):
            typer.echo(printable(line).replace("\n", "\\n"))
    if not result.right:
        raise typer.Exit(3)
    if result.unmeasured:
        say("Not everything could be measured again: sources or weights are not at hand.")
        raise typer.Exit(4)
