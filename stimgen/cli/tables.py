"""The command `stimgen tables`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.errors import say


def tables(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders),
    ],
) -> None:
    """Write the tables of a run again, from its records: also the data dictionaries and the trial lists.

    Needs neither weights nor sources. Records that are damaged, and PNG files that are not those that their
    records describe, are named, and nothing is written.

    For example:

      stimgen tables results/exp1
    """
    from stimgen.verify.rebuild import rebuild_tables

    rebuilt = rebuild_tables(run_folder)
    say(f"{rebuilt.stimuli} stimuli. Table: {rebuilt.folder / 'stimuli.csv'}")
    if rebuilt.outdated:
        say(
            f"{len(rebuilt.outdated)} stimuli were made with other settings than the manifest's and are left "
            f"out: {', '.join(rebuilt.outdated[:5])}{', …' if len(rebuilt.outdated) > 5 else ''}"
        )
    if rebuilt.stimuli < rebuilt.planned:
        missing = rebuilt.planned - rebuilt.stimuli
        say(f"{missing} of {rebuilt.planned} stimuli are missing; run the manifest.")
    if rebuilt.trial_lists:
        say(f"Trial lists: {', '.join(map(str, rebuilt.trial_lists))}")
