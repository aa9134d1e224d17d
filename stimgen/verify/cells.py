"""Files of a run that are tables: read cell by cell, and compared with what they should be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from stimgen.runs.csv_files import cells_of, data_dictionary, to_json
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import TABLES, Finding, cures_at, lost, some

FORMATTING = "is written in another way than stimgen does, and no value differs"
"""How a file differs that another program saved and nobody edited."""
DIGITS = 1e-14
"""Relative; programs that read and save a table may lose the last of its 17 digits."""


def first_difference(expected: str, content: bytes, names: str = "row") -> str | None:
    """Return where a CSV file is not as expected, as the rest of a sentence; None if it is.

    Parameters
    ----------
    expected
        The whole file.
    content
        What is there.
    names
        What rows are called.
    """
    if content == expected.encode():
        return None
    wanted = cells_of(expected.encode())
    try:
        found = cells_of(content)
    except UnreadableError as error:
        return str(error)
    if found[0] != wanted[0]:
        return column_difference(wanted[0], found[0])
    formatted = None
    for number, (row, there) in enumerate(zip(wanted[1:], found[1:], strict=False), start=1):
        if difference := cell_difference(wanted[0], row, there):
            return f"{names} {number}, {difference}"
        formatted = formatted or formatted_cell(wanted[0], row, there)
    if len(found) != len(wanted):
        return f"has {len(found) - 1} {names}s, and should have {len(wanted) - 1}"
    return other_formatting(formatted)


def other_formatting(cell: str | None) -> str:
    """Return that a table is only written in another way; the first such cell is as `formatted_cell` says."""
    return f"{FORMATTING}: {cell or 'quotes or ends of lines do'}"


def column_difference(wanted: Sequence[str], found: Sequence[str]) -> str:
    """Return how the columns of a table differ, as the rest of a sentence."""
    lacking = [name for name in wanted if name not in found]
    more = [name for name in found if name not in wanted]
    if lacking or more:
        parts = [f"lacks the columns {some(lacking)}"] if lacking else []
        parts += [f"has columns that stimgen did not write: {some(more)}"] if more else []
        return " and ".join(parts)
    return "has its columns in another order"


def cell_difference(header: Sequence[str], wanted: Sequence[str], found: Sequence[str]) -> str | None:
    """Return the first cell of a row that has another value; None if all are the same (`same_value`)."""
    for column, right, there in zip(header, wanted, found, strict=True):
        if not same_value(right, there):
            return f'column {column}: "{there}" is there, and "{right}" follows from its record'
    return None


def formatted_cell(header: Sequence[str], wanted: Sequence[str], found: Sequence[str]) -> str | None:
    """Return the first cell of a row that is not the same to the letter."""
    for column, right, there in zip(header, wanted, found, strict=True):
        if right != there:
            return f'column {column} has "{there}" in place of "{right}"'
    return None


def same_value(one: str, other: str) -> bool:
    """Return whether two cells say the same, however it is written: "1" and "1.0", "True" and "TRUE"."""
    if one == other or one.lower() == other.lower() in ("true", "false"):
        return True
    if not one or not other or "_" in one + other:  # which Python takes for digits
        return False
    try:
        return math.isclose(float(one), float(other), rel_tol=DIGITS)
    except ValueError:
        return False


def dictionary_findings(
    folder: RunFolder, name: str, headers: Sequence[str], *, unfinished: bool
) -> Iterator[Finding]:
    """Yield whether the data dictionary of a table is not that of its columns."""
    path = folder.path / f"{name}.json"
    try:
        content = read_regular(path)
    except UnreadableError as error:
        yield lost(path.name, str(error), unfinished=unfinished, cures=cures_at(path, TABLES))
        return
    if content != to_json(data_dictionary(name, list(headers))).encode():
        yield lost(path.name, f"is not the data dictionary of {name}.csv", unfinished=unfinished)
