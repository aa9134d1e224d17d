"""The long tables of a run against its records, one stimulus after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from stimgen.runs.csv_files import cells_of
from stimgen.runs.record import Record
from stimgen.runs.regular_files import UnreadableError, open_regular
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import LONG_TABLES, as_text
from stimgen.verify.cells import cell_difference, formatted_cell, other_formatting, same_value
from stimgen.verify.finding import TABLES, Finding, cures_at, incomplete, lost, some, wrong


class LongTable:
    """A table with many rows of each stimulus, compared while its stimuli pass by; memory stays flat.

    Parameters
    ----------
    folder, name
        The run, and the name of its table.
    plan
        Ids of all stimuli, in order.
    unfinished
        Whether the run was killed before it wrote its tables, so that rows may be missing.
    """

    def __init__(self, folder: RunFolder, name: str, plan: Sequence[str], *, unfinished: bool) -> None:
        self._name = name
        self._file = f"{name}.csv"
        self._places = {stimulus_id.encode(): place for place, stimulus_id in enumerate(plan)}
        self._unfinished = unfinished
        self._number = 0
        self._lines: IO[bytes] | None = None
        self._next = b""
        self._formatted: str | None = None
        self.problem: Finding | None = None
        self.missing: list[str] = []
        try:
            self._lines = open_regular(folder.path / self._file)
        except UnreadableError as error:
            cures = cures_at(folder.path / self._file, TABLES)
            self.problem = lost(self._file, str(error), unfinished=unfinished, cures=cures)
            return
        header, _ = as_text(name, [])
        self._header = header.strip().split(",")
        found = self._lines.readline()
        if found != header.encode():
            if _cells(found) != self._header:
                self.problem = wrong(self._file, "has another header than stimgen writes", TABLES)
            self._formatted = other_formatting(None)
        self._next = self._lines.readline()

    def compare(self, record: Record) -> None:
        """Compare the rows of the next stimulus."""
        rows = LONG_TABLES[self._name](record)
        if self.problem or not rows:
            return
        if self._id() != record.stimulus_id.encode():
            self._absent(record.stimulus_id)
            return
        text, _ = as_text(self._name, rows)
        for line in text.encode().splitlines(keepends=True)[1:]:
            self._number += 1
            if self._next != line and (difference := self._difference(line)):
                self.problem = wrong(self._file, difference, TABLES)
                return
            self._advance()

    def altered(self, record: Record) -> str | None:
        """Pass over the rows of a record that was altered; return the first cell that it contradicts."""
        try:
            lines = as_text(self._name, LONG_TABLES[self._name](record))[0].encode().splitlines()[1:]
        except (ArithmeticError, LookupError, ValueError):  # what is in it does not go together
            lines = []
        differing = None
        own = record.stimulus_id.encode()
        while not self.problem and self._id() == own:
            self._number += 1
            line, found = _cells(lines.pop(0)) if lines else None, _cells(self._next)
            if differing is None and line and found and len(line) == len(found):
                for column, says, there in zip(self._header, line, found, strict=True):
                    if not same_value(says, there):
                        differing = f"it says {column} {says}, and row {self._number} of {self._file} {there}"
                        break
            self._advance()
        return differing

    def skip(self, stimulus_id: str) -> None:
        """Pass over the rows of a stimulus whose record cannot be read."""
        while not self.problem and self._id() == stimulus_id.encode():
            self._number += 1
            self._advance()

    def end(self) -> Iterator[Finding]:
        """Yield what was found."""
        if not self.problem and self._next:
            text = f"row {self._number + 1} is of no stimulus, or out of order"
            self.problem = wrong(self._file, text, TABLES)
        if self._lines is not None:
            self._lines.close()
        if self.problem:
            yield self.problem
        elif self.missing:
            yield incomplete(self._file, lacks(self.missing))
        elif self._formatted:
            yield wrong(self._file, self._formatted, TABLES)

    def _advance(self) -> None:
        assert self._lines is not None
        self._next = self._lines.readline()

    def _id(self) -> bytes:
        return self._next.partition(b",")[0]

    def _absent(self, stimulus_id: str) -> None:
        later = not self._next or self._places.get(self._id(), -1) > self._places[stimulus_id.encode()]
        if self._unfinished and later:
            self.missing.append(stimulus_id)
            return
        there = f"{self._id().decode(errors='replace')} is there" if self._next else "the table ends"
        text = f"row {self._number + 1}: {there}, and the rows of {stimulus_id} should follow"
        self.problem = wrong(self._file, text, TABLES)

    def _difference(self, line: bytes) -> str | None:
        """Return how the next row has other values than a line; None, which is noted, if only other bytes."""
        if not self._next:
            return f"ends before row {self._number}, which {line.partition(b',')[0].decode()} should have"
        wanted, found = _cells(line), _cells(self._next)
        if wanted is None or found is None:
            return f"row {self._number} is no row as stimgen writes it"
        if len(found) != len(wanted):
            return f"row {self._number} has {len(found)} cells, and should have {len(wanted)}"
        where = f"row {self._number} ({wanted[0]})"
        if found[0] != wanted[0]:
            return f"{where} is missing, or out of order"
        if difference := cell_difference(self._header, wanted, found):
            return f"{where}, {difference}"
        if self._formatted is None:
            self._formatted = other_formatting(formatted_cell(self._header, wanted, found))
        return None


def _cells(line: bytes) -> list[str] | None:
    """Return the cells of one line; None if it is not one."""
    try:
        (cells,) = cells_of(line)
    except (UnreadableError, ValueError):
        return None
    return cells


def lacks(missing: Sequence[str]) -> str:
    """Return that a run was ended before it wrote all rows."""
    return f"lacks the rows of {some(missing)}: the run was ended before it wrote them"
