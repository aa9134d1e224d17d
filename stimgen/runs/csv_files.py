"""Tables as CSV files, with their data dictionaries; free of torch, and of pandas unless a table is one."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stimgen.bounded import UnreadableError
from stimgen.column import Column
from stimgen.runs.columns import TABLES

if TYPE_CHECKING:
    import pandas as pd

WHOLE_NUMBERS = ("seed", "components", "parameters", "iterations", "evaluations", "restarts")
"""Columns that are whole numbers with gaps."""
PIECE_ROWS = 1000
"""How many lines are made at a time."""
CELL_CHARACTERS = 10_000_000
"""Most that a cell may hold."""

Columns = dict[str, list[Any]]
"""Cells of a table by header; None where there is nothing."""

Dictionary = dict[str, dict[str, str]]
"""For each column of a table what it means, for people and for BIDS readers."""

_WHOLE = re.compile("-?[1-9][0-9]{0,14}|0")
_STARTS = re.compile(r"[-=+@\[({'#<$%]")
# Also times, dates and fractions, which spreadsheets turn into numbers.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9.,][0-9.,eE+\-/: ]*%?")
_WORDS = {"nan", "na", "n/a", "null", "none", "true", "false", "inf", "infinity"}


def table_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return `columns_of` as a table."""
    import pandas as pd

    count = itertools.count()
    columns = columns_of(row for row, _ in zip(rows, count, strict=False))
    return pd.DataFrame(columns, index=range(next(count)))


def columns_of(rows: Iterable[Mapping[str, Any]]) -> Columns:
    r"""Return rows as columns. Bytes of file names that are no UTF-8 are escapes such as ``\udcff`` in them.

    Equal texts are kept once: all takes a fraction of the memory that the rows would take.
    """
    columns: Columns = {}
    for length, row in enumerate(rows):
        for name, cell in row.items():
            if name not in columns:
                columns[name] = [None] * length
            columns[name].append(encodable(cell) if isinstance(cell, str) else cell)
        for name in columns.keys() - row.keys():
            columns[name].append(None)
    return columns


@functools.lru_cache(maxsize=4096)
def encodable(text: str) -> str:
    """Return a text without bytes that are no UTF-8, the same object for the same text."""
    return sys.intern(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def in_order(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, Dictionary]:
    """Return a table with its columns in the order in which they are described, and the descriptions."""
    dictionary = dictionary_of(name, [] if table.empty else list(table.columns))
    return table.reindex(columns=list(dictionary)), dictionary


def dictionary_of(name: str, headers: list[str]) -> Dictionary:
    """Return the `data_dictionary` of headers; without any, of the columns that the table always has."""
    return data_dictionary(name, headers or [column.name for column in TABLES[name] if column.always])


def data_dictionary(table: str, headers: list[str]) -> Dictionary:
    """Return the BIDS-style description of a table's columns, in the order of `stimgen.runs.columns`.

    Columns with a layer or a family in their name are described for it, in the order of `headers`.
    """
    matches: dict[str, tuple[Column, dict[str, str]]] = {}
    # "gram_relative_matched" is not that of a layer "matched": what names more of a header comes last.
    for column in sorted(TABLES[table], key=lambda column: len(column.name.partition("{")[0])):
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", re.escape(column.name)))
        matches |= {h: (column, found.groupdict()) for h in headers if (found := pattern.fullmatch(h))}
    described = {
        header: column_entry(column, matches[header][1])
        for column in TABLES[table]
        for header in headers
        if header in matches and matches[header][0] is column
    }
    if unknown := set(headers) - set(described):
        raise KeyError(f"the table {table} has no columns {', '.join(sorted(unknown))}")
    return described


def column_entry(column: Column, words: Mapping[str, str]) -> dict[str, str]:
    """Return the description of a column, with the words that its placeholders stand for."""
    entry = {"LongName": column.long_name, "Description": column.description}
    for placeholder, word in words.items():
        entry = {key: text.replace(f"{{{placeholder}}}", word) for key, text in entry.items()}
    more = {"Units": column.unit, "Source": column.origin}
    return entry | {key: text for key, text in more.items() if text}


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as text, every text in it harmless (`harmless`)."""
    cells = {name: column.astype(object).where(column.notna(), None) for name, column in table.items()}
    return "".join(csv_pieces({str(name): column.tolist() for name, column in cells.items()}))


def csv_pieces(columns: Columns) -> Iterator[str]:
    """Yield columns as text in pieces of some thousand lines, as `to_csv` does. A cell of None is empty."""
    yield _csv([columns])
    length = max(map(len, columns.values()), default=0)
    for start in range(0, length, PIECE_ROWS):
        pieces = [column[start : start + PIECE_ROWS] for column in columns.values()]
        yield _csv(zip(*pieces, strict=True))


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO()
    written = ([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(file, lineterminator="\n").writerows(written)
    return file.getvalue()


@functools.lru_cache(maxsize=4096)
def harmless(text: str) -> str:
    r"""Return a text that a spreadsheet, pandas and PsychoPy leave as it is when they read it from a table.

    An apostrophe is put before what they would take for a formula, a list, a number, a date, a truth value or
    a missing one; and before what begins with an apostrophe, so that without its first one it is the text
    again. Whole numbers in digits stay, because they are the same for everybody. Control characters but tabs
    and line ends, and bytes of file names that are no UTF-8, are written as escapes such as ``\x1b``.

    Examples
    --------
    >>> harmless("=1+1"), harmless("None"), harmless("1e5"), harmless("42"), harmless("conv1_1 pool1")
    ("'=1+1", "'None", "'1e5", '42', 'conv1_1 pool1')
    """
    steering = {c for c in text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
    text = text.translate({ord(c): c.encode("unicode_escape").decode() for c in steering})
    if _WHOLE.fullmatch(text) or not text:
        return text
    inner = text.strip(' \t\r\n"')
    taken = _STARTS.match(inner) or _NUMBER.fullmatch(inner) or inner.lower() in _WORDS or _is_number(inner)
    return f"'{text}" if taken or not inner else text


def unmarked(text: str) -> str:
    """Return a text without the apostrophe of `harmless`."""
    return text.removeprefix("'")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_json(dictionary: Dictionary) -> str:
    """Return a data dictionary as text."""
    return json.dumps(dictionary, indent=2, ensure_ascii=False) + "\n"


def rows_of(content: bytes) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, its header first."""
    problem = "is not a CSV file as stimgen writes it"
    csv.field_size_limit(CELL_CHARACTERS)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    length = None
    try:
        for row in csv.reader(text, strict=True):
            length = len(row) if length is None else length
            if len(row) != length:
                raise UnreadableError(f"{problem}: its rows have different lengths")
            yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{problem}: {error}") from None
    if length is None:
        raise UnreadableError(f"{problem}: it is empty")
