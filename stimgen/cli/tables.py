"""The command `stimgen tables`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.errors import say
from stimgen.counting import counted

SHOWN = 5
"""How many shards a message names."""


def tables(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders),
    ],
) -> None:
    """Write the tables of a run again, from its records: also the data dictionaries and the trial lists.

    Needs neither weights nor sources. Records that are damaged, and PNG files that are not those that their
    records describe, are named, and nothing is written. Joins the shards of a run. Ends with 3 if stimuli are
    missing.

    For example:

      stimgen tables results/exp1
    """
    from stimgen.verify.rebuild import rebuild_tables

    rebuilt = rebuild_tables(run_folder)
    say(f"{counted(rebuilt.stimuli)}. Table: {rebuilt.folder / 'stimuli.csv'}")
    if rebuilt.outdated:
        say(
            "Left out, because made with other settings than the manifest's: "
            f"{counted(len(rebuilt.outdated))}, "
            f"{', '.join(rebuilt.outdated[:5])}{', …' if len(rebuilt.outdated) > 5 else ''}"
        )
    if rebuilt.stimuli < rebuilt.planned:
        missing = rebuilt.planned - rebuilt.stimuli
        shards = rebuilt.missing_shards
        more = f" and {len(shards) - SHOWN} more" if len(shards) > SHOWN else ""
        cure = f"Run the manifest again with --out {shlex.quote(str(rebuilt.folder))}."
        if shards:
            which = f"{', '.join(shards[:SHOWN])}{more}"
            cure = f"Give the command of the shards that are not done, {which}, and then this one again."
        say(f"Missing: {missing} of {counted(rebuilt.planned)}. {cure}")
        raise typer.Exit(3)
    if rebuilt.trial_lists:
        say(f"Trial lists: {', '.join(map(str, rebuilt.trial_lists))}")
