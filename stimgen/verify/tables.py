"""The tables and trial lists of a run compared with those that are made again from its records."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError
from stimgen.manifest.resolved import TrialsSpec
from stimgen.runs.csv_files import data_dictionary, in_order, rows_of, to_csv, to_json
from stimgen.runs.load import Run
from stimgen.runs.store import DESKTOP_FILES, RunFolder
from stimgen.runs.tables import CORRELATION
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
    some,
    unchecked,
    warning,
    wrong,
)

LISTS: tuple[Cure, ...] = ("lists",)
CORRELATION_TOLERANCE = 1e-9
"""Of the column that is measured on several files, which rounds differently on other machines."""


def table_findings(
    folder: RunFolder,
    name: str,
    again: Path,
    unknown: Collection[str],
    uncertain: Collection[str],
) -> Iterator[Finding]:
    """Yield how a table and its data dictionary differ from those written again.

    Of `unknown` stimuli no row can be compared, and of `uncertain` ones not the correlation between seeds.
    """
    path, right = folder.path / f"{name}.csv", again / f"{name}.csv"
    columns_unknown = False
    try:
        found, wanted = read_regular(path), right.read_bytes()
        if found != wanted:
            columns_unknown = bool(unknown) and name == "stimuli"
            problem, missing = _difference(found, wanted, unknown, uncertain)
            if problem:
                yield wrong(path.name, problem, TABLES)
            elif missing:
                yield lost(path.name, f"lacks the rows of {some(missing)}")
    except UnreadableError as error:
        yield lost(path.name, str(error), cures_at(path, TABLES))
    dictionary = (again / f"{name}.json").read_bytes()
    if columns_unknown and (folder.path / f"{name}.json").is_file():
        if (folder.path / f"{name}.json").read_bytes() != dictionary:
            text = "not compared, because some rows of the table are not known"
            yield unchecked(f"{name}.json", text)
        return
    yield from dictionary_findings(folder.path, f"{name}.json", dictionary)


def dictionary_findings(
    folder: Path, file: str, right: bytes, cures: tuple[Cure, ...] = TABLES
) -> Iterator[Finding]:
    """Yield whether a data dictionary is missing or another one."""
    try:
        if read_regular(folder / file) == right:
            return
        problem = f"is not the data dictionary of {Path(file).stem}.csv"
    except UnreadableError as error:
        problem = str(error)
    yield lost(file, problem, cures_at(folder / file, cures))


def _difference(
    found: bytes, right: bytes, unknown: Collection[str], uncertain: Collection[str]
) -> tuple[str | None, list[str]]:
    """Return the first row of a table that differs, and the stimuli whose rows are missing."""
    rows, wanted = rows_of(found), rows_of(right)
    header, right_header = next(rows), next(wanted)
    if len(set(header)) < len(header) or header[0] != right_header[0]:
        return "has another header than stimgen writes", []
    known = {row[0] for row in rows_of(right)}
    listed = {row[0] for row in rows_of(found)}
    if more := sorted(listed - known - set(unknown)):
        return f"has rows of stimuli that the run does not have: {some(more)}", []
    missing = list(dict.fromkeys(row[0] for row in rows_of(right) if row[0] not in listed))
    # The columns of stimuli.csv are those of all stimuli together; without some of them, not all are known.
    if header != right_header and not unknown and not missing:
        return _header_difference(header, right_header), []
    places = [(name, header.index(name), right_header.index(name)) for name in right_header if name in header]
    numbered = ((number, row) for number, row in enumerate(rows, start=1) if row[0] not in unknown)
    expected = (row for row in wanted if row[0] in listed)
    excused = False
    for item, right_row in itertools.zip_longest(numbered, expected):
        if item is None or right_row is None:
            return f"has too {'few' if item is None else 'many'} rows of {(right_row or item[1])[0]}", []
        number, row = item
        if row[0] != right_row[0]:
            return f"row {number} is of {row[0]}, and one of {right_row[0]} belongs there", []
        for name, place, right_place in places:
            if row[place] == right_row[right_place]:
                continue
            # A table that lacks rows was written before there were other seeds to compare with.
            incomparable = bool(missing) or row[0] in uncertain
            if name == CORRELATION and (incomparable or _nearly(row[place], right_row[right_place])):
                excused = True
                continue
            problem = _cell(name, row[place], right_row[right_place])
            return f"row {number} ({row[0]}), {problem}", []
    if missing or unknown or excused:
        return None, missing
    return "differs in its line ends or quotes", []


def _header_difference(found: Sequence[str], right: Sequence[str]) -> str:
    if lacking := [name for name in right if name not in found]:
        return f"lacks the columns {some(lacking)}"
    if more := [name for name in found if name not in right]:
        return f"has columns that stimgen did not write: {some(more)}"
    return "has its columns in another order"


def _cell(name: str, found: str, right: str) -> str:
    return f'column {name}: "{found}" is there, and "{right}" follows from its record'


def _nearly(found: str, right: str) -> bool:
    try:
        return math.isclose(float(found), float(right), rel_tol=0, abs_tol=CORRELATION_TOLERANCE)
    except ValueError:
        return False


def trials_findings(
    run: Run,
    trials: Sequence[TrialsSpec],
    planned: Collection[str],
    earlier: Collection[str],
    *,
    complete: bool,
) -> Iterator[Finding]:
    """Yield what is wrong in the folder of trial lists.

    A list of the manifest is made again and compared. In other lists, all patches must be stimuli of the run.
    """
    folder = RunFolder(run.folder).trials
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    expected = {f"{spec.id}{ending}" for spec in trials for ending in (".csv", ".json")}
    if complete:
        for spec in trials:
            yield from _of_manifest(run, spec)
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
            yield from _other(run, place, planned)
        elif name not in expected and not (name.endswith(".json") and f"{name[:-5]}.csv" in names):
            yield wrong(place, "is no trial list as stimgen writes it", ("remove",))


def _of_manifest(run: Run, spec: TrialsSpec) -> Iterator[Finding]:
    file, folder = f"trials/{spec.id}.csv", RunFolder(run.folder).trials
    try:
        made = trial_list(run, spec.design, spec.options, folder)
    except InputError as error:
        yield incomplete(file, f"cannot be made: {' '.join(filter(None, (error.problem, error.cure)))}", ())
        return
    table, dictionary = in_order(f"trials_{spec.design}", made)
    try:
        problem = _list_difference(read_regular(run.folder / file), to_csv(table).encode())
    except UnreadableError as error:
        problem = str(error)
    if problem:
        yield lost(file, problem, cures_at(run.folder / file, TABLES))
    right = to_json(dictionary).encode()
    yield from dictionary_findings(run.folder, f"trials/{spec.id}.json", right)


def _list_difference(found: bytes, right: bytes) -> str | None:
    """Return the first row of a trial list that differs."""
    if found == right:
        return None
    rows, wanted = list(rows_of(found)), list(rows_of(right))
    if rows[0] != wanted[0]:
        return _header_difference(rows[0], wanted[0])
    if len(rows) != len(wanted):
        return f"has {len(rows) - 1} rows, and should have {len(wanted) - 1}"
    for number, (row, right_row) in enumerate(zip(rows, wanted, strict=True)):
        for name, cell, right_cell in zip(rows[0], row, right_row, strict=True):
            if cell != right_cell:
                return f"row {number}, {_cell(name, cell, right_cell)}"
    return "differs in its line ends or quotes"


def _other(run: Run, file: str, planned: Collection[str]) -> Iterator[Finding]:
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
        record.stimulus_id: (
            os.path.relpath(run.folder / record.filename, folder).replace(os.sep, "/"),
            f"sha256:{record.png_sha256}",
        )
        for record in run.records
    }
    patches = [
        (number, patch, dict(zip(header, cells, strict=True)))
        for number, cells in enumerate(rows, start=1)
        for patch in DESIGNS[design].patches
    ]
    for number, patch, row in patches:
        stimulus_id = row[f"{patch}_id"]
        shown = row[f"{patch}_file"], row[f"{patch}_sha256"]
        if stimulus_id not in planned:
            yield wrong(file, f"row {number}: shows {stimulus_id}, which is not in the run", LISTS)
            break
        if stimulus_id in known and shown != known[stimulus_id]:
            yield wrong(file, f"row {number}: shows {stimulus_id} as another file than the run has", LISTS)
            break
    right = to_json(data_dictionary(f"trials_{design}", header)).encode()
    dictionary = f"{file.removesuffix('.csv')}.json"
    yield from dictionary_findings(run.folder, dictionary, right, LISTS)
