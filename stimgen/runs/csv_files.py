"""Tables as CSV files, with their data dictionaries. Free of torch."""

from __future__ import annotations

import json

import pandas as pd

from stimgen.runs.columns import TABLES
from stimgen.runs.dictionary import Dictionary, data_dictionary

WHOLE_NUMBERS = ("seed", "iterations", "evaluations", "restarts")
"""Columns that are whole numbers with gaps."""


def in_order(name: str, table: pd.DataFrame) -> tuple[pd.DataFrame, Dictionary]:
    """Return a table with its columns in the order in which they are described, and the descriptions.

    Parameters
    ----------
    name
        Name of the table.
    table
        Its rows; without any, it gets the columns that it always has.

    Raises
    ------
    KeyError
        If a column is not described.
    """
    headers = [column.name for column in TABLES[name] if column.always]
    dictionary = data_dictionary(name, headers if table.empty else list(table.columns))
    return table.reindex(columns=list(dictionary)), dictionary


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as text."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def to_json(dictionary: Dictionary) -> str:
    """Return a data dictionary as text."""
    return json.dumps(dictionary, indent=2, ensure_ascii=False) + "\n"
