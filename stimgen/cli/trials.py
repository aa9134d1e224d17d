"""The command `stimgen trials`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import option
from stimgen.cli.errors import say
from stimgen.errors import InputError


def trials(
    run_folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of a finished run.", autocompletion=completion.run_folders
        ),
    ],
    design: Annotated[
        str | None, option("Design of a list, such as oddity.", complete=completion.designs)
    ] = None,
    settings: Annotated[
        list[str] | None,
        option("Option of the design, as in a manifest. Repeatable.", "--set", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[
        Path | None, option("CSV file for the list of --design, with its data dictionary (.json) beside it.")
    ] = None,
    force: Annotated[
        bool, option("Replace a trial list that is at --out and has other content.", "--force")
    ] = False,
) -> None:
    """Write trial lists for PsychoPy: which stimuli are shown, where, in which order, and what is correct.

    Without --design, writes the lists of the run's manifest (section trials) anew. Every list is
    counterbalanced, and determined by its options, among them its seed. They are listed in docs/trials.md.

    For example:
      stimgen trials results/exp1
      stimgen trials results/exp1 --design oddity --set repeats=10 --set seed=7 --out lists/participant7.csv
      stimgen trials results/exp1 --design rating --set conditions=[pool1,pool4] --out lists/rating.csv
    """
    if (design is None) != (out is None) or ((settings or force) and not design):
        raise InputError(
            "--design and --out go together, and --set and --force go with them.",
            "Name a design and a file, or neither for the lists of the run's manifest.",
        )
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(
            f"--out {out} is not a CSV file.",
            "Name a file that ends in .csv; its data dictionary gets the same name with .json.",
        )

    from stimgen.runs.load import load_run
    from stimgen.runs.store import RunFolder
    from stimgen.runs.trial_lists import (
        check_replaceable,
        trials_of_command,
        trials_of_manifest,
        write_trial_list,
        write_trial_lists,
    )

    paths: tuple[Path, ...]
    if design is not None and out is not None:
        spec = trials_of_command(design, settings or ())
        loaded = load_run(run_folder)
        check_replaceable(loaded, spec.design, spec.options, out, force=force)
        write_trial_list(loaded, spec.design, spec.options, out)
        paths = (out,)
    else:
        loaded = load_run(run_folder)
        with RunFolder(loaded.folder).locked():
            paths = write_trial_lists(loaded, trials_of_manifest(loaded.folder))
    for path in paths:
        say(f"Trial list: {path}, its columns: {path.with_suffix('.json')}")
