"""stimuli.csv against the records, cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from stimgen.errors import StimgenError
from stimgen.runs.csv_files import cells_of
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.measured_columns import Row
from stimgen.runs.record import Record
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import CORRELATION, as_text
from stimgen.verify.cells import (
    cell_difference,
    column_difference,
    dictionary_findings,
    formatted_cell,
    other_formatting,
    same_value,
)
from stimgen.verify.finding import TABLES, Finding, cures_at, incomplete, lost, some, unchecked, wrong
from stimgen.verify.tables import lacks

CORRELATION_TOLERANCE = 1e-9
"""Of the one column that is measured on several files, and so rounds as the machine does."""
FILE = "stimuli.csv"


@dataclass
class Kept:
    """What is kept of the records while they pass by, much less than they hold.

    Attributes
    ----------
    records
        In the order of the plan, without traces, spectra and distances.
    rows
        What the records say of each row of stimuli.csv, by stimulus id.
    unreadable
        Ids of stimuli whose records cannot be read, were altered, or are others'.
    outdated
        Ids of stimuli that were made with other settings, which a run that was ended was to replace.
    altered
        Ids of stimuli whose PNG files are not those of their records.
    """

    records: list[Record] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)


def stimuli_findings(folder: RunFolder, kept: Kept, *, unfinished: bool) -> Iterator[Finding]:
    """Yield what of stimuli.csv, or its data dictionary, does not follow from the records.

    Parameters
    ----------
    folder
        The run.
    kept
        What the records say.
    unfinished
        Whether the run was killed before it wrote its tables, so that rows may be missing.
    """
    try:
        content = read_regular(folder.path / FILE)
        header, *found = cells_of(content)
    except UnreadableError as error:
        yield lost(FILE, str(error), unfinished=unfinished, cures=cures_at(folder.path / FILE, TABLES))
        return
    if not header or header[0] != "stimulus_id" or len(set(header)) < len(header):
        yield wrong(FILE, "has another header than stimgen writes", TABLES)
        return
    ids = [row[0] for row in found]
    listed = set(ids)
    order = [stimulus_id for stimulus_id in kept.rows if stimulus_id in listed]
    misplaced = list(_misplaced(ids, order, kept, unfinished=unfinished))
    yield from misplaced
    if len(listed) < len(ids):
        return
    # A run that was killed had compared what was done before, and nothing else.
    records = [record for record in kept.records if not unfinished or record.stimulus_id in listed]
    there = {row[0]: dict(zip(header, row, strict=True)) for row in found}
    correlations, vague = _correlations(folder, records, kept)
    if vague:
        what = f"column {CORRELATION} of {some(vague)} not compared, because files of them are wrong"
        yield unchecked(FILE, what)
    expected = []
    for stimulus_id in order:
        cell = there[stimulus_id].get(CORRELATION, "")
        known = stimulus_id in correlations
        value = _nearly(cell, correlations[stimulus_id]) if known else _number(cell)
        expected.append(kept.rows[stimulus_id] | {CORRELATION: value})
    text, _ = as_text("stimuli", expected)
    wanted_header, *wanted = cells_of(text.encode())
    # The columns are those of all stimuli together; without some of them they are not known.
    whole = not kept.unreadable & listed and not any(one.severity == "wrong" for one in misplaced)
    if whole and header != wanted_header:
        yield wrong(FILE, column_difference(wanted_header, header), TABLES)
    elif difference := _first_cell(wanted_header, wanted, there):
        yield wrong(FILE, difference, TABLES)
    elif whole and content != text.encode():
        yield wrong(FILE, other_formatting(_first_formatted(wanted_header, wanted, there)), TABLES)
    if whole:
        yield from dictionary_findings(folder, "stimuli", wanted_header, unfinished=unfinished)
    else:
        yield unchecked("stimuli.json", "not compared, because rows of stimuli.csv are not known")


def _misplaced(
    ids: Sequence[str], order: Sequence[str], kept: Kept, *, unfinished: bool
) -> Iterator[Finding]:
    """Yield rows that are missing, twice there, of other stimuli, or in another order."""
    counted: Set[str] = set(ids)
    if len(counted) < len(ids):
        twice = next(one for one, times in Counter(ids).items() if times > 1)
        yield wrong(FILE, f"has two rows of {twice}", TABLES)
    missing = [stimulus_id for stimulus_id in kept.rows if stimulus_id not in counted]
    if missing and unfinished:
        yield incomplete(FILE, lacks(missing))
    elif missing:
        yield wrong(FILE, f"lacks the rows of {some(missing)}", TABLES)
    known = kept.rows.keys() | kept.unreadable | kept.outdated
    if more := [one for one in ids if one not in known]:
        yield wrong(FILE, f"has rows of stimuli that the run does not have: {some(more)}", TABLES)
    there = [one for one in ids if one in kept.rows]
    for found, right in zip(there, order, strict=False):
        if found != right:
            text = f"has its rows in another order: {found} is where {right} should be"
            yield wrong(FILE, text, TABLES)
            return


def _correlations(
    folder: RunFolder, records: Sequence[Record], kept: Kept
) -> tuple[Mapping[str, float | None], list[str]]:
    """Return the correlations that can be measured, and the groups of exemplars where they cannot."""
    vague = {(one.source.id, one.condition) for one in records if one.stimulus_id in kept.altered}
    for stimulus_id in kept.unreadable:
        source, condition, *_ = f"{stimulus_id}-".split("-")
        vague.add((source, condition))
    sure = [one for one in records if (one.source.id, one.condition) not in vague]
    try:
        correlations = seed_correlations(folder, [Exemplar.of(one) for one in sure])
        return correlations, [" ".join(group) for group in sorted(vague)]
    except StimgenError as error:  # a file was taken away meanwhile
        return {}, [error.problem]


def _first_cell(
    header: Sequence[str], wanted: Sequence[Sequence[str]], there: Mapping[str, Mapping[str, str]]
) -> str | None:
    for row in wanted:
        if difference := cell_difference(header, row, _row(header, there[row[0]])):
            return f"row of {row[0]}, {difference}"
    return None


def _first_formatted(
    header: Sequence[str], wanted: Sequence[Sequence[str]], there: Mapping[str, Mapping[str, str]]
) -> str | None:
    formatted = (formatted_cell(header, row, _row(header, there[row[0]])) for row in wanted)
    return next(filter(None, formatted), None)


def _row(header: Sequence[str], cells: Mapping[str, str]) -> list[str]:
    return [cells.get(column, "") for column in header]


def contradicted(folder: RunFolder, rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """Return by stimulus id where stimuli.csv says something else than records that were altered.

    Parameters
    ----------
    folder
        The run.
    rows
        What these records say now, by stimulus id.
    """
    try:
        header, *found = cells_of(read_regular(folder.path / FILE))
    except UnreadableError:
        return {}
    there = {row[0]: dict(zip(header, row, strict=True)) for row in found if row}
    differing: dict[str, list[str]] = {}
    for stimulus_id in rows.keys() & there.keys():
        try:
            columns, says = cells_of(as_text("stimuli", [rows[stimulus_id]])[0].encode())
        except (ArithmeticError, LookupError, ValueError):  # it has layers or families that no table has
            continue
        differing[stimulus_id] = [
            f'it says {column} "{said}", and {FILE} "{cell}"'
            for column, said in zip(columns, says, strict=True)
            if column != CORRELATION
            and (cell := there[stimulus_id].get(column)) is not None
            and not same_value(said, cell)
        ]
    return differing


def _nearly(cell: str, measured: float | None) -> float | None:
    """Return the number in a cell if it is what was measured but for rounding, else what was measured."""
    found = _number(cell)
    if found is None or measured is None:
        return measured
    return found if math.isclose(found, measured, rel_tol=0, abs_tol=CORRELATION_TOLERANCE) else measured


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
