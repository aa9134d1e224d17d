"""The trial lists of a run compared with those that are made again from its stimuli."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError
from stimgen.manifest.resolved import TrialsSpec
from stimgen.runs.csv_files import data_dictionary, in_order, rows_of, to_csv, to_json
from stimgen.runs.load import Run
from stimgen.runs.store import DESKTOP_FILES, RunFolder
from stimgen.runs.trial_lists import trial_list
from stimgen.trials import DESIGNS, design_columns
from stimgen.verify.finding import (
    KILLED,
    TABLES,
    Cure,
    Finding,
    cures_at,
    incomplete,
    lost,
    unchecked,
    warning,
    wrong,
)
from stimgen.verify.tables import first_difference

LISTS: tuple[Cure, ...] = ("lists",)


def trials_findings(
    run: Run,
    trials: Sequence[TrialsSpec],
    planned: Collection[str],
    earlier: Collection[str],
    *,
    complete: bool,
    unfinished: bool,
) -> Iterator[Finding]:
    """Yield what is wrong in the folder of trial lists.

    A list of the manifest is made again and compared. In other lists, all patches must be stimuli of the run.
    """
    folder = RunFolder(run.folder).trials
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    expected = {f"{spec.id}{ending}" for spec in trials for ending in (".csv", ".json")}
    if complete:
        for spec in trials:
            yield from _of_manifest(run, spec, unfinished=unfinished)
    elif trials:
        text = "lists of the manifest not compared, because stimuli are missing or altered"
        yield unchecked(folder.name, text)
    for name in names:
        place = f"{folder.name}/{name}"
        if name.startswith(TEMPORARY):
            yield incomplete(place, KILLED)
        elif name in DESKTOP_FILES:
            yield warning(place, "is no part of the run")
        elif name.removesuffix(".csv") in earlier and name.endswith(".csv"):
            text = "is not asked for by the manifest; it is unaltered and kept (--prune removes it)"
            yield warning(place, text)
        elif name.endswith(".csv") and not (complete and name in expected):
            yield from _other(run, place, planned, unfinished=unfinished)
        elif name not in expected and not (name.endswith(".json") and f"{name[:-5]}.csv" in names):
            yield wrong(place, "is no trial list as stimgen writes it", ("remove",))


def _of_manifest(run: Run, spec: TrialsSpec, *, unfinished: bool) -> Iterator[Finding]:
    file, folder = f"trials/{spec.id}.csv", RunFolder(run.folder).trials
    try:
        made = trial_list(run, spec.design, spec.options, folder)
    except InputError as error:
        yield incomplete(file, f"cannot be made: {' '.join(filter(None, (error.problem, error.cure)))}", ())
        return
    table, dictionary = in_order(f"trials_{spec.design}", made)
    try:
        problem = first_difference(read_regular(run.folder / file), to_csv(table).encode())
    except UnreadableError as error:
        problem = str(error)
    if problem:
        yield lost(file, problem, unfinished=unfinished, cures=cures_at(run.folder / file, TABLES))
    yield from _dictionary(run, f"trials/{spec.id}.json", to_json(dictionary), TABLES, unfinished=unfinished)


def _other(run: Run, file: str, planned: Collection[str], *, unfinished: bool) -> Iterator[Finding]:
    """Yield what is wrong with a list that is not made again."""
    try:
        header, *rows = rows_of(read_regular(run.folder / file))
    except UnreadableError as error:
        yield wrong(file, str(error), ("remove",))
        return
    of_design = {name: [column.name for column in design_columns(name)] for name in DESIGNS}
    design = next((name for name, columns in of_design.items() if header == columns), None)
    if design is None:
        yield wrong(file, "is no trial list as stimgen writes it", ("remove",))
        return
    folder = RunFolder(run.folder).trials
    known = {
        record.stimulus_id: (os.path.relpath(run.folder / record.filename, folder), record.png_sha256)
        for record in run.records
    }
    for number, cells in enumerate(rows, start=1):
        row = dict(zip(header, cells, strict=True))
        for patch in DESIGNS[design].patches:
            stimulus_id = row[f"{patch}_id"]
            shown = row[f"{patch}_file"], row[f"{patch}_sha256"].removeprefix("sha256:")
            if stimulus_id not in planned:
                problem = f"shows {stimulus_id}, which is not in the run"
            elif stimulus_id in known and shown != known[stimulus_id]:
                problem = f"shows {stimulus_id} as another file than the run has"
            else:
                continue
            yield wrong(file, f"row {number}: {problem}", LISTS)
            break
        else:
            continue
        break
    expected = to_json(data_dictionary(f"trials_{design}", header))
    yield from _dictionary(run, f"{file.removesuffix('.csv')}.json", expected, LISTS, unfinished=unfinished)


def _dictionary(
    run: Run, file: str, expected: str, cures: tuple[Cure, ...], *, unfinished: bool
) -> Iterator[Finding]:
    cures = cures_at(run.folder / file, cures)
    try:
        if read_regular(run.folder / file) != expected.encode():
            text = "is not the data dictionary of this trial list"
            yield lost(file, text, unfinished=unfinished, cures=cures)
    except UnreadableError as error:
        yield lost(file, str(error), unfinished=unfinished, cures=cures)
