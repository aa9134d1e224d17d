"""The tables and trial lists of a run compared with those that are made again from its records."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.counting import first_few
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
    NOT_OF_RUN,
    TABLES,
    Cure,
    Finding,
    Severity,
    cures_at,
    incomplete,
    lost,
    unchecked,
    warning,
    wrong,
)

LISTS: tuple[Cure, ...] = ("lists",)
CORRELATION_TOLERANCE = 1e-9
"""Of the column that is measured on several files, which rounds differently on other machines."""
NO_LIST = "is no trial list as stimgen writes it"


def table_findings(
    run: Path,
    file: str,
    right: bytes,
    dictionary: bytes,
    unknown: Collection[str] = (),
    uncertain: Collection[str] = (),
    foreign: Collection[str] = (),
    *,
    severity: Severity = "wrong",
) -> Iterator[Finding]:
    """Yield how a table and its data dictionary differ from those written again.

    Of `unknown` stimuli no row can be compared, and of `uncertain` ones not the correlation between seeds.
    Columns that are `foreign` to this stimgen are not compared.
    """
    unclear = False
    try:
        found = read_regular(run / file)
        if found != right:
            unclear = bool(unknown) and file == "stimuli.csv"
            problem, missing = _difference(found, right, unknown, uncertain, foreign)
            if problem:
                yield Finding(severity, file, problem, TABLES)
            elif missing:
                yield lost(file, f"lacks the rows of {first_few(missing)}")
    except UnreadableError as error:
        yield lost(file, str(error), cures=cures_at(run / file, TABLES))
    described = f"{file.removesuffix('.csv')}.json"
    yield from dictionary_findings(run, described, dictionary, unclear=unclear, foreign=foreign)


def dictionary_findings(
    run: Path,
    file: str,
    right: bytes,
    cures: tuple[Cure, ...] = TABLES,
    *,
    unclear: bool = False,
    foreign: Collection[str] = (),
) -> Iterator[Finding]:
    """Yield whether a data dictionary is missing or another one, unless its columns are `unclear`."""
    try:
        found = read_regular(run / file)
        if found == right or (foreign and _without(found, foreign) == right):
            return
        if unclear:
            yield unchecked(file, "not compared, because some rows of the table are not known")
        else:
            yield lost(file, f"is not the data dictionary of {Path(file).stem}.csv", cures=cures)
    except UnreadableError as error:
        yield lost(file, str(error), cures=cures_at(run / file, cures))


def _without(dictionary: bytes, columns: Collection[str]) -> bytes | None:
    """Return a data dictionary without some columns; None if it is none."""
    try:
        entries = json.loads(dictionary)
        return to_json({name: entries[name] for name in entries if name not in columns}).encode()
    except (ValueError, TypeError, RecursionError):
        return None


def _difference(
    found: bytes,
    right: bytes,
    unknown: Collection[str],
    uncertain: Collection[str],
    foreign: Collection[str],
) -> tuple[str | None, list[str]]:
    """Return the first row of a table that differs, and the names of the rows that are missing.

    A row is named by its first cell: of most tables the id of a stimulus.
    """
    rows, wanted = rows_of(found), rows_of(right)
    header, right_header = next(rows), next(wanted)
    if len(set(header)) < len(header) or header[:1] != right_header[:1]:
        return "has another header than stimgen writes", []
    listed, known = (dict.fromkeys(row[0] for row in rows_of(content)) for content in (found, right))
    if more := [name for name in listed if name not in known and name not in unknown]:
        return f"has rows that the run does not have: {first_few(more)}", []
    missing = [name for name in known if name not in listed]
    # The columns of stimuli.csv are those of all stimuli together; without some of them, not all are known.
    own = [name for name in header if name not in foreign]
    if own != right_header and not unknown and not missing:
        return _header_difference(own, right_header), []
    places = [(name, header.index(name), right_header.index(name)) for name in right_header if name in header]
    numbered = ((number, row) for number, row in enumerate(rows, start=1) if row[0] not in unknown)
    excused = bool(missing or unknown or own != header)
    for item, right_row in itertools.zip_longest(numbered, (row for row in wanted if row[0] in listed)):
        if item is None or right_row is None:
            of = f" of {(right_row or item[1])[0]}" if header[0] == "stimulus_id" else ""
            return f"has too {'few' if item is None else 'many'} rows{of}", []
        number, row = item
        if row[0] != right_row[0]:
            return f"row {number} is of {row[0]}, and one of {right_row[0]} belongs there", []
        for name, place, right_place in places:
            cell, right_cell = row[place], right_row[right_place]
            if cell == right_cell:
                continue
            # A table that lacks rows was written before there were other seeds to compare with.
            if name == CORRELATION and (missing or row[0] in uncertain or _nearly(cell, right_cell)):
                excused = True
                continue
            which = f"row {number} ({row[0]})" if header[0] == "stimulus_id" else f"row {number}"
            both = f'"{cell}" is there, and "{right_cell}" follows from its record'
            return f"{which}, column {name}: {both}", []
    return (None if excused else "differs in its line ends or quotes"), missing


def _header_difference(found: Sequence[str], right: Sequence[str]) -> str:
    if lacking := [name for name in right if name not in found]:
        return f"lacks the columns {first_few(lacking)}"
    if more := [name for name in found if name not in right]:
        return f"has columns that stimgen did not write: {first_few(more)}"
    return "has its columns in another order"


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
            yield warning(place, NOT_OF_RUN)
        elif name.removesuffix(".csv") in earlier and name.endswith(".csv"):
            text = "is not asked for by the manifest; it is unaltered and kept (--prune removes it)"
            yield warning(place, text)
        elif name.endswith(".csv") and not (complete and name in expected):
            yield from _other(run, place, planned)
        elif name not in expected and not (name.endswith(".json") and f"{name[:-5]}.csv" in names):
            yield wrong(place, NO_LIST, cures=("remove",))


def _of_manifest(run: Run, spec: TrialsSpec) -> Iterator[Finding]:
    file = f"trials/{spec.id}.csv"
    try:
        made = trial_list(run, spec.design, spec.options, RunFolder(run.folder).trials)
    except InputError as error:
        problem = " ".join(filter(None, (error.problem, error.cure)))
        yield incomplete(file, f"cannot be made: {problem}", cures=())
        return
    table, dictionary = in_order(f"trials_{spec.design}", made)
    contents = to_csv(table).encode(), to_json(dictionary).encode()
    yield from table_findings(run.folder, file, *contents, severity="lost")


def _other(run: Run, file: str, planned: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong with a list that is not made again."""
    try:
        header, *rows = rows_of(read_regular(run.folder / file))
    except UnreadableError as error:
        yield wrong(file, str(error), cures=("remove",))
        return
    of_design = (name for name in DESIGNS if header == [column.name for column in design_columns(name)])
    if (design := next(of_design, None)) is None:
        yield wrong(file, NO_LIST, cures=("remove",))
        return
    folder = RunFolder(run.folder).trials
    known = {
        record.stimulus_id: (
            os.path.relpath(run.folder / record.filename, folder).replace(os.sep, "/"),
            f"sha256:{record.png_sha256}",
        )
        for record in run.records
    }
    for number, patch in itertools.product(range(len(rows)), DESIGNS[design].patches):
        row = dict(zip(header, rows[number], strict=True))
        stimulus_id = row[f"{patch}_id"]
        shown = row[f"{patch}_file"], row[f"{patch}_sha256"]
        text = f"row {number + 1}: shows {stimulus_id}"
        if stimulus_id not in planned:
            yield wrong(file, f"{text}, which is not in the run", cures=LISTS)
            break
        if known.get(stimulus_id, shown) != shown:
            yield wrong(file, f"{text} as another file than the run has", cures=LISTS)
            break
    right = to_json(data_dictionary(f"trials_{design}", header)).encode()
    yield from dictionary_findings(run.folder, f"{file.removesuffix('.csv')}.json", right, LISTS)
