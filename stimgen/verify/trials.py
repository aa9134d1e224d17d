"""Trial lists of a run against its stimuli."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from stimgen.atomic import TEMPORARY
from stimgen.errors import InputError
from stimgen.manifest.resolved import TrialsSpec
from stimgen.runs.csv_files import cells_of, data_dictionary, in_order, to_csv, to_json
from stimgen.runs.load import Run
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import DESKTOP_FILES, RunFolder
from stimgen.runs.trial_lists import trial_list
from stimgen.trials import DESIGNS, design_columns
from stimgen.verify.cells import first_difference
from stimgen.verify.files import KILLED
from stimgen.verify.finding import (
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

NOT_ASKED = "is not asked for by the manifest"
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

    A list of the manifest is made anew and compared; another list has to show stimuli of the run.

    Parameters
    ----------
    run
        What there is to show; of its table the column `accepted`.
    trials
        What the manifest asks for.
    planned
        Ids of the stimuli that it asks for.
    earlier
        Names of lists, without ".csv", of an earlier manifest, which are as stimgen wrote them.
    complete
        Whether all of them are there and right. Else its lists are not made anew.
    unfinished
        Whether the run was killed, maybe before it wrote them.
    """
    folder = RunFolder(run.folder).trials
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    expected = {f"{spec.id}{ending}" for spec in trials for ending in (".csv", ".json")}
    if complete:
        for spec in trials:
            yield from _of_manifest(run, spec, unfinished=unfinished)
    elif trials:
        yield unchecked(
            folder.name,
            "lists of the manifest not made anew for comparison, because stimuli are missing or altered",
        )
    for name in names:
        place = f"{folder.name}/{name}"
        if name.startswith(TEMPORARY):
            yield incomplete(place, KILLED)
        elif name in DESKTOP_FILES:
            yield warning(place, "is no part of the run")
        elif name.removesuffix(".csv") in earlier and name.endswith(".csv"):
            text = (
                "is not asked for by the manifest; it is as stimgen wrote it, and kept. stimgen run … --prune"
            )
            yield warning(place, f"{text} removes it")
        elif name.endswith(".csv") and not (complete and name in expected):
            yield from _other(run, place, planned, unfinished=unfinished)
        elif name not in expected and not (name.endswith(".json") and f"{name[:-5]}.csv" in names):
            yield wrong(place, "is no trial list as stimgen writes it", ("remove",))


def _of_manifest(run: Run, spec: TrialsSpec, *, unfinished: bool) -> Iterator[Finding]:
    folder = RunFolder(run.folder).trials
    file, dictionary_file = f"trials/{spec.id}.csv", f"trials/{spec.id}.json"
    try:
        table, dictionary = in_order(
            f"trials_{spec.design}", trial_list(run, spec.design, spec.options, folder)
        )
    except InputError as error:
        yield incomplete(file, f"cannot be made: {' '.join(filter(None, (error.problem, error.cure)))}", ())
        return
    try:
        problem = first_difference(to_csv(table), read_regular(run.folder / file))
    except UnreadableError as error:
        problem = str(error)
    if problem:
        cures = cures_at(run.folder / file, TABLES)
        yield lost(file, problem, unfinished=unfinished, cures=cures)
    yield from _dictionary(run, dictionary_file, to_json(dictionary), TABLES, unfinished=unfinished)


def _other(run: Run, file: str, planned: Collection[str], *, unfinished: bool) -> Iterator[Finding]:
    """Yield what is wrong with a list that is not made anew."""
    try:
        header, *rows = cells_of(read_regular(run.folder / file))
    except UnreadableError as error:
        yield wrong(file, str(error), ("remove",))
        return
    design = next(
        (name for name in DESIGNS if header == [column.name for column in design_columns(name)]), None
    )
    if design is None:
        yield wrong(file, "is no trial list as stimgen writes it", ("remove",))
        return
    folder = RunFolder(run.folder).trials
    known = {
        record.stimulus_id: (os.path.relpath(run.folder / record.filename, folder), record.png_sha256)
        for record in run.records
    }
    for number, cells in enumerate(rows, start=1):
        problem = _row_problem(dict(zip(header, cells, strict=True)), DESIGNS[design].patches, known, planned)
        if problem:
            yield wrong(file, f"row {number}: {problem}", LISTS)
            break
    expected = to_json(data_dictionary(f"trials_{design}", header))
    yield from _dictionary(run, f"{file.removesuffix('.csv')}.json", expected, LISTS, unfinished=unfinished)


def _row_problem(
    row: Mapping[str, str],
    patches: Sequence[str],
    known: Mapping[str, tuple[str, str]],
    planned: Collection[str],
) -> str | None:
    for patch in patches:
        stimulus_id = row[f"{patch}_id"]
        if stimulus_id not in planned:
            return f"shows {stimulus_id}, which is not in the run"
        if stimulus_id not in known:
            continue  # what is wrong with it is said elsewhere
        path, sha256 = known[stimulus_id]
        if row[f"{patch}_file"] != path.replace(os.sep, "/"):
            return f"shows {stimulus_id} in the file {row[f'{patch}_file']}, and it is in {path}"
        if row[f"{patch}_sha256"] != f"sha256:{sha256}":
            return f"shows {stimulus_id} as another file than the run has: {patch}_sha256 differs"
    return None


def _dictionary(
    run: Run, file: str, expected: str, cures: tuple[Cure, ...], *, unfinished: bool
) -> Iterator[Finding]:
    cures = cures_at(run.folder / file, cures)
    try:
        content = read_regular(run.folder / file)
    except UnreadableError as error:
        yield lost(file, str(error), unfinished=unfinished, cures=cures)
        return
    if content != expected.encode():
        text = "is not the data dictionary of this trial list"
        yield lost(file, text, unfinished=unfinished, cures=cures)
