"""Values that are spread evenly over trials, and the order in which trials are shown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stimgen.counting import counted
from stimgen.trials.available import OptionError, Row

Trial = list[Row]
"""The rows of one trial, with the same source: a single row, but one per level in the design `morph`."""


@dataclass(frozen=True)
class Balanced:
    """A column whose values are equally frequent, to within one.

    That holds over all trials, within each value of the first of the columns `within`, within each
    combination of the first two, and so on.
    """

    column: str
    values: tuple[str, ...]
    within: tuple[str, ...]


def balance(rows: Sequence[Row], rule: Balanced, rng: np.random.Generator) -> None:
    """Fill a column of `rows` in such a way that `rule` holds.

    The values take turns, in a random order, along the rows sorted by the columns `within`, with groups and
    their rows in random order. Any stretch of it has each value equally often, to within one.
    """
    turns = itertools.cycle(rng.permutation(len(rule.values)).tolist())
    for row in _grouped(rows, rule.within, rng):
        row[rule.column] = rule.values[next(turns)]


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


def in_random_order(trials: Sequence[Trial], gap: int, rng: np.random.Generator) -> list[Trial]:
    """Return trials in random order, with at least `gap` others between two of the same source.

    Every source must have equally many trials. They are shown in rounds, in each of which every source comes
    once, in random order. A choice is always left: of n + 1 or more sources, at most n have been shown in the
    last n trials.
    """
    of_source: dict[str, list[Trial]] = {}
    for trial in trials:
        of_source.setdefault(trial[0]["source"], []).append(trial)
    sources = list(of_source)
    rounds = len(trials) // len(sources)
    if rounds > 1 and len(sources) <= gap:
        number = counted(len(sources), "source", "sources")
        raise OptionError(
            "min_source_gap",
            f"With {number} there cannot be {gap} other trials between two with the same source.",
            f"Set min_source_gap to {len(sources) - 1} at most, or show at least {gap + 1} sources.",
        )
    queues = {source: [own[i] for i in rng.permutation(len(own))] for source, own in of_source.items()}
    shown: list[str] = []
    for _ in range(rounds):
        waiting = list(sources)
        while waiting:
            recent = set(shown[-gap:]) if gap else set()
            free = [source for source in waiting if source not in recent]
            source = free[int(rng.integers(len(free)))]
            waiting.remove(source)
            shown.append(source)
    return [queues[source].pop() for source in shown]
