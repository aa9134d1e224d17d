"""stimuli.csv against the records, cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import pandas as pd

from stimgen.errors import StimgenError
from stimgen.runs.csv_files import Columns, cells_of, csv_pieces, rows_of
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.record import Record
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import CORRELATION, Row, as_text, described, plain
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
    exemplars
        Of each record, in the order of the plan.
    seals
        What they are sealed with, in the same order.
    columns
        What they say of each row of stimuli.csv, in the same order.
    unreadable
        Ids of stimuli whose records cannot be read, were altered, or are others'.
    outdated
        Ids of stimuli that were made with other settings, which a run that was ended was to replace.
    altered
        Ids of stimuli whose PNG files are not those of their records.
    """

    exemplars: list[Exemplar] = field(default_factory=list)
    seals: list[str | None] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    unreadable: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)

    def add(self, record: Record, row: Row) -> None:
        """Keep what is needed of a record, whose row of stimuli.csv is `row`."""
        self.exemplars.append(Exemplar.of(record))
        self.seals.append(record.record_sha256)
        self.columns.add(plain(row))

    @property
    def ids(self) -> list[str]:
        """Ids of the stimuli, in the order of the plan."""
        return [one.stimulus_id for one in self.exemplars]


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
        cells = _identified(content)
    except UnreadableError as error:
        yield lost(FILE, str(error), unfinished=unfinished, cures=cures_at(folder.path / FILE, TABLES))
        return
    columns = next(rows_of(content))
    if columns[:1] != ["stimulus_id"] or len(set(columns)) < len(columns):
        yield wrong(FILE, "has another header than stimgen writes", TABLES)
        return
    ids = [stimulus_id for stimulus_id, _ in cells]
    listed = set(ids)
    misplaced = list(_misplaced(ids, kept, unfinished=unfinished))
    yield from misplaced
    if len(listed) < len(ids):
        return
    # A run that was killed had compared what was done before, and nothing else.
    exemplars = [one for one in kept.exemplars if not unfinished or one.stimulus_id in listed]
    correlations, vague = _correlations(folder, exemplars, kept)
    if vague:
        what = f"column {CORRELATION} of {some(vague)} not compared, because files of them are wrong"
        yield unchecked(FILE, what)
    places = {stimulus_id: place for place, stimulus_id in enumerate(kept.ids)}
    there = [(stimulus_id, cell) for stimulus_id, cell in cells if stimulus_id in places]
    expected = kept.columns.rows([places[stimulus_id] for stimulus_id, _ in there])
    expected[CORRELATION] = [
        _nearly(cell, correlations[stimulus_id]) if stimulus_id in correlations else _number(cell)
        for stimulus_id, cell in there
    ]
    table, dictionary = described("stimuli", expected)
    # The columns are those of all stimuli together; without some of them they are not known.
    whole = not kept.unreadable & listed and not any(one.severity == "wrong" for one in misplaced)
    difference, formatted = _compared(table, content, places)
    if whole and columns != list(dictionary):
        yield wrong(FILE, column_difference(list(dictionary), columns), TABLES)
    elif difference:
        yield wrong(FILE, difference, TABLES)
    elif whole and formatted:
        yield wrong(FILE, formatted, TABLES)
    if whole:
        yield from dictionary_findings(folder, "stimuli", list(dictionary), unfinished=unfinished)
    else:
        yield unchecked("stimuli.json", "not compared, because rows of stimuli.csv are not known")


def _compared(table: pd.DataFrame, content: bytes, known: Container[str]) -> tuple[str | None, str | None]:
    """Return the first cell of known rows that has another value, and how they are written in another way."""
    rows = rows_of(content)
    header, wanted_header = next(rows), list(table.columns)
    at = [header.index(column) if column in header else None for column in wanted_header]
    found = (row for row in rows if row[0] in known)
    offset, same, formatted = 0, True, None
    for piece in map(str.encode, csv_pieces(table)):
        same = same and content.startswith(piece, offset)
        lines = rows_of(piece)
        if offset == 0:
            next(lines)
        offset += len(piece)
        for wanted, row in zip(lines, found, strict=False):
            cells = ["" if place is None else row[place] for place in at]
            if difference := cell_difference(wanted_header, wanted, cells):
                return f"row of {row[0]}, {difference}", None
            formatted = formatted or formatted_cell(wanted_header, wanted, cells)
    return None, None if same and offset == len(content) else other_formatting(formatted)


def _identified(content: bytes) -> list[tuple[str, str]]:
    """Return the first cell of every row with its cell in the column that is measured on several files."""
    rows = rows_of(content)
    header = next(rows)
    at = header.index(CORRELATION) if CORRELATION in header else None
    return [(row[0], "" if at is None else row[at]) for row in rows if row]


def _misplaced(ids: Sequence[str], kept: Kept, *, unfinished: bool) -> Iterator[Finding]:
    """Yield rows that are missing, twice there, of other stimuli, or in another order."""
    counted: Set[str] = set(ids)
    if len(counted) < len(ids):
        twice = next(one for one, times in Counter(ids).items() if times > 1)
        yield wrong(FILE, f"has two rows of {twice}", TABLES)
    made = dict.fromkeys(kept.ids)
    missing = [stimulus_id for stimulus_id in made if stimulus_id not in counted]
    if missing and unfinished:
        yield incomplete(FILE, lacks(missing))
    elif missing:
        yield wrong(FILE, f"lacks the rows of {some(missing)}", TABLES)
    known = made.keys() | kept.unreadable | kept.outdated
    if more := [one for one in ids if one not in known]:
        yield wrong(FILE, f"has rows of stimuli that the run does not have: {some(more)}", TABLES)
    order = [one for one in made if one in counted]
    for found, right in zip((one for one in ids if one in made), order, strict=False):
        if found != right:
            text = f"has its rows in another order: {found} is where {right} should be"
            yield wrong(FILE, text, TABLES)
            return


def _correlations(
    folder: RunFolder, exemplars: Sequence[Exemplar], kept: Kept
) -> tuple[Mapping[str, float | None], list[str]]:
    """Return the correlations that can be measured, and the groups of exemplars where they cannot."""
    vague = {(one.source, one.condition) for one in exemplars if one.stimulus_id in kept.altered}
    for stimulus_id in kept.unreadable:
        source, condition, *_ = f"{stimulus_id}-".split("-")
        vague.add((source, condition))
    sure = [one for one in exemplars if (one.source, one.condition) not in vague]
    try:
        return seed_correlations(folder, sure), [" ".join(group) for group in sorted(vague)]
    except StimgenError as error:  # a file was taken away meanwhile
        return {}, [error.problem]


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
        found = rows_of(read_regular(folder.path / FILE))
        header = next(found)
        there = {row[0]: dict(zip(header, row, strict=True)) for row in found if row and row[0] in rows}
    except UnreadableError:
        return {}
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
