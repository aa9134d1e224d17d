"""The data dictionary of a table: what its columns mean, for people and for BIDS readers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stimgen.column import Column
from stimgen.runs.columns import TABLES

Dictionary = dict[str, dict[str, str]]


def data_dictionary(table: str, headers: list[str]) -> Dictionary:
    """Return the BIDS-style description of a table's columns, in the order in which they are listed here.

    Parameters
    ----------
    table
        Name of the table.
    headers
        Its columns; those with a layer or a family in their name are described for it, in their order.

    Raises
    ------
    KeyError
        If a column is not described here.
    """
    described = {}
    fixed = {column.name for column in TABLES[table]}
    for column in TABLES[table]:
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", re.escape(column.name)))
        for header in headers:
            found = pattern.fullmatch(header)
            # "gram_relative_matched" is a column of its own, and not that of a layer "matched".
            if found and (header == column.name or header not in fixed):
                described[header] = _entry(column, found.groupdict())
    if unknown := set(headers) - set(described):
        raise KeyError(f"the table {table} has no columns {', '.join(sorted(unknown))}")
    return described


def _entry(column: Column, words: Mapping[str, str]) -> dict[str, str]:
    """Return the description of a column, with the words that its placeholders stand for."""
    long_name, description = column.long_name, column.description
    for placeholder, word in words.items():
        long_name = long_name.replace(f"{{{placeholder}}}", word)
        description = description.replace(f"{{{placeholder}}}", word)
    entry = {"LongName": long_name, "Description": description}
    if column.unit:
        entry["Units"] = column.unit
    if column.origin:
        entry["Source"] = column.origin
    return entry
