"""Values that are spread evenly over trials."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]


@dataclass(frozen=True)
class Balanced:
    """A column whose values are equally frequent, to within one.

    Attributes
    ----------
    column
        The column.
    values
        Its values.
    within
        Columns. Counts differ by at most one over all trials, within each value of the first of these
        columns, within each combination of the first two, and so on.
    """

    column: str
    values: tuple[str, ...]
    within: tuple[str, ...]


def balance(rows: Sequence[Row], rule: Balanced, rng: np.random.Generator) -> None:
    """Fill a column of `rows` in such a way that `rule` holds.

    The values take turns, in a random order, along the rows sorted by the columns `within`, whose groups are
    in random order, as are the rows of a group. Any stretch of such a sequence has each value equally often,
    to within one, and every group is a stretch.
    """
    turns = itertools.cycle(rng.permutation(len(rule.values)).tolist())
    for row in _grouped(rows, rule.within, rng):
        row[rule.column] = rule.values[next(turns)]


def even_choice(count: int, size: int, rng: np.random.Generator) -> list[int]:
    """Return `count` numbers from 0 to `size` - 1, each equally often to within one, in random order."""
    order = rng.permutation(size).tolist()
    chosen = [order[index % size] for index in range(count)]
    return [chosen[index] for index in rng.permutation(count).tolist()]


def _grouped(rows: Sequence[Row], columns: Sequence[str], rng: np.random.Generator) -> list[Row]:
    if not columns:
        return [rows[index] for index in rng.permutation(len(rows)).tolist()]
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[columns[0]], []).append(row)
    ordered = list(groups.values())
    return [
        row
        for index in rng.permutation(len(ordered)).tolist()
        for row in _grouped(ordered[index], columns[1:], rng)
    ]
