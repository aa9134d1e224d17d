"""The tables of a run compared with those that are written again from its records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from stimgen.bounded import UnreadableError, read_regular
from stimgen.runs.csv_files import rows_of
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import CORRELATION
from stimgen.verify.finding import TABLES, Finding, cures_at, incomplete, lost, some, unchecked, wrong

CORRELATION_TOLERANCE = 1e-9
"""Of the column that is measured on several files, which rounds differently on other machines."""


def table_findings(
    folder: RunFolder,
    name: str,
    again: Path,
    *,
    unknown: Collection[str],
    uncertain: Collection[str],
    unfinished: bool,
) -> Iterator[Finding]:
    """Yield how a table and its data dictionary differ from those written again."""
    path, right = folder.path / f"{name}.csv", again / f"{name}.csv"
    unclear = False
    try:
        found, wanted = read_regular(path), right.read_bytes()
        if found != wanted:
            problem, missing = _difference(found, wanted, unknown, uncertain)
            unclear = bool(unknown) and name == "stimuli"
            if problem:
                yield wrong(path.name, problem, TABLES)
            elif missing and unfinished:
                yield incomplete(path.name, f"lacks the rows of {some(missing)}: the run was killed before")
            elif missing:
                yield wrong(path.name, f"lacks the rows of {some(missing)}", TABLES)
    except UnreadableError as error:
        yield lost(path.name, str(error), unfinished=unfinished, cures=cures_at(path, TABLES))
    yield from dictionary_findings(
        folder.path / f"{name}.json", (again / f"{name}.json").read_bytes(), unclear, unfinished=unfinished
    )


def dictionary_findings(
    path: Path, right: bytes, unclear: bool = False, *, unfinished: bool
) -> Iterator[Finding]:
    """Yield whether a data dictionary is missing or another one; `unclear` if its columns are not known."""
    try:
        content = read_regular(path)
    except UnreadableError as error:
        yield lost(path.name, str(error), unfinished=unfinished, cures=cures_at(path, TABLES))
        return
    if content != right and unclear:
        yield unchecked(path.name, "not compared, because some rows of the table are not known")
    elif content != right:
        yield lost(path.name, f"is not the data dictionary of {path.stem}.csv", unfinished=unfinished)


def first_difference(found: bytes, right: bytes) -> str | None:
    """Return the first row that differs in a table whose rows are all known, as the rest of a sentence."""
    if found == right:
        return None
    rows, wanted = list(rows_of(found)), list(rows_of(right))
    if rows[0] != wanted[0]:
        return _header_difference(rows[0], wanted[0])
    if len(rows) != len(wanted):
        return f"has {len(rows) - 1} rows, and should have {len(wanted) - 1}"
    for number, (row, expected) in enumerate(zip(rows, wanted, strict=True)):
        if difference := _cell_difference(rows[0], row, expected):
            return f"row {number}, {difference}"
    return "differs in its line ends or quotes"


def _difference(
    found: bytes, right: bytes, unknown: Collection[str], uncertain: Collection[str]
) -> tuple[str | None, list[str]]:
    """Return the first row that differs, and the stimuli whose rows are missing."""
    rows, wanted = rows_of(found), rows_of(right)
    header, expected_header = next(rows), next(wanted)
    if len(set(header)) < len(header) or header[0] != expected_header[0]:
        return "has another header than stimgen writes", []
    if not unknown and header != expected_header:
        return _header_difference(header, expected_header), []
    # The columns of stimuli.csv are those of all stimuli together; without some of them, not all are known.
    places = [(header.index(name), place) for place, name in enumerate(expected_header) if name in header]
    columns = [header[place] for place, _ in places]
    known = {row[0] for row in rows_of(right)}
    listed = {row[0] for row in rows_of(found)}
    if more := sorted(listed - known - set(unknown) - {header[0]}):
        return f"has rows of stimuli that the run does not have: {some(more)}", []
    missing: list[str] = []
    numbered = ((number, row) for number, row in enumerate(rows, start=1) if row[0] not in unknown)
    groups = itertools.groupby(numbered, key=lambda item: item[1][0])
    for stimulus_id, expected_rows in itertools.groupby(wanted, key=itemgetter(0)):
        if stimulus_id not in listed:
            missing.append(stimulus_id)
            continue
        there, of_stimulus = next(groups, ("", iter(())))
        if there != stimulus_id:
            return f"its rows are in another order: those of {stimulus_id} are not where they belong", []
        for item, expected in itertools.zip_longest(of_stimulus, expected_rows):
            if item is None or expected is None:
                return f"has too {'few' if item is None else 'many'} rows of {stimulus_id}", []
            number, row = item
            left_out = CORRELATION if stimulus_id in uncertain else None
            cells = [row[place] for place, _ in places]
            if difference := _cell_difference(columns, cells, [expected[at] for _, at in places], left_out):
                return f"row {number} ({stimulus_id}), {difference}", []
    if next(groups, None) is not None:
        return "its rows are in another order", []
    return (None if missing or unknown or uncertain else _spelling(found, right)), missing


def _spelling(found: bytes, right: bytes) -> str | None:
    """Return that two tables with the same values are written differently, unless by rounding."""
    same_length = found.count(b"\r") == right.count(b"\r") and found.count(b'"') == right.count(b'"')
    return None if same_length else "differs in its line ends or quotes"


def _header_difference(found: Sequence[str], right: Sequence[str]) -> str:
    lacking = [name for name in right if name not in found]
    more = [name for name in found if name not in right]
    if lacking:
        return f"lacks the columns {some(lacking)}"
    return (
        f"has columns that stimgen did not write: {some(more)}"
        if more
        else "has its columns in another order"
    )


def _cell_difference(
    columns: Sequence[str], found: Sequence[str], right: Sequence[str], left_out: str | None = None
) -> str | None:
    """Return the first cell of a row that differs."""
    for column, there, expected in zip(columns, found, right, strict=True):
        if there == expected or column == left_out:
            continue
        if column == CORRELATION and _nearly(there, expected):
            continue
        return f'column {column}: "{there}" is there, and "{expected}" follows from its record'
    return None


def _nearly(there: str, expected: str) -> bool:
    try:
        return math.isclose(float(there), float(expected), rel_tol=0, abs_tol=CORRELATION_TOLERANCE)
    except ValueError:
        return False
