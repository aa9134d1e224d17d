"""The order in which trials are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stimgen.trials.balance import Row
from stimgen.trials.options import OptionError

Trial = list[Row]
"""The rows of one trial, with the same source: one, but one per level in the design `morph`."""


def in_random_order(trials: Sequence[Trial], gap: int, rng: np.random.Generator) -> list[Trial]:
    """Return trials in random order, with at least `gap` others between two of the same source.

    Every source must have equally many trials. They are shown in rounds, in each of which every source comes
    once, in random order. A choice is always left: of n + 1 or more sources, at most n have been shown in the
    last n trials.

    Raises
    ------
    OptionError
        If there are too few sources.
    """
    of_source: dict[str, list[Trial]] = {}
    for trial in trials:
        of_source.setdefault(trial[0]["source"], []).append(trial)
    sources = list(of_source)
    rounds = len(trials) // len(sources)
    if rounds > 1 and len(sources) <= gap:
        count = "1 source" if len(sources) == 1 else f"{len(sources)} sources"
        raise OptionError(
            "min_source_gap",
            f"With {count} there cannot be {gap} other trials between two with the same source.",
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
