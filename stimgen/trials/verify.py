"""Whether a finished trial list keeps its constraints, found from its rows alone.

This is written independently of how lists are made, so that a fault there cannot hide here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from stimgen.trials.available import Available, Row
from stimgen.trials.design import TrialOptions


def verify(rows: Sequence[Row], available: Available, options: TrialOptions, patches: Sequence[str]) -> None:
    """Raise RuntimeError if a trial list does not keep a constraint."""
    trials = list({row["trial"]: row for row in rows}.values())  # one row of each
    broken = [*_order(trials, options), *_patches(rows, available, patches)]
    for rule in options.balanced:
        for depth in range(len(rule.within) + 1):
            broken += _uneven(trials, rule.column, rule.values, rule.within[:depth])
    if options.turns is not None:
        broken += _exemplars(rows, available, *options.turns)
    if broken:
        raise RuntimeError(f"the trial list breaks its constraints: {'; '.join(broken[:3])}")


def _order(trials: Sequence[Row], options: TrialOptions) -> Iterator[str]:
    if [row["trial"] for row in trials] != list(range(1, len(trials) + 1)):
        yield "trials are not numbered from 1"
    last: dict[str, int] = {}
    block = 1
    for row in trials:
        source, number = row["source"], row["trial"]
        if source in last and number - last[source] - 1 < options.min_source_gap:
            yield f"trials {last[source]} and {number} have the same source"
        last[source] = number
        block += row["break_before"]
        if row["block"] != block or block != (number + options.break_every - 1) // options.break_every:
            yield f"trial {number} is not in its block"


def _patches(rows: Sequence[Row], available: Available, patches: Sequence[str]) -> Iterator[str]:
    for row in rows:
        side, number = row["crop_px"], row["trial"]
        places = [(row[f"{name}_id"], row[f"{name}_x"], row[f"{name}_y"]) for name in patches]
        if any(not 0 <= edge <= available.size_px - side for _, *edges in places for edge in edges):
            yield f"a patch of trial {number} leaves its image"
        for (image, x, y), (other, other_x, other_y) in combinations(places, 2):
            if image == other and abs(x - other_x) < side and abs(y - other_y) < side:
                yield f"patches of trial {number} overlap"


def _uneven(rows: Sequence[Row], column: str, values: Sequence[str], within: Sequence[str]) -> Iterator[str]:
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for row in rows:
        group = tuple(row[name] for name in within)
        counts.setdefault(group, Counter(dict.fromkeys(values, 0)))[row[column]] += 1
    for group, found in counts.items():
        if max(found.values()) - min(found.values()) > 1 or set(found) != set(values):
            yield f"{column} is not balanced in {' '.join(group) or 'the list'}"


def _exemplars(rows: Sequence[Row], available: Available, within: str, trials: int) -> Iterator[str]:
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault((row[within], row["source"], row["condition"]), []).append(row)
    for (group, source, condition), shown in cells.items():
        ids = [exemplar.stimulus_id for exemplar in available.cell(source, condition)]
        if len(shown) != trials or any(_uneven(shown, "stimulus_id", ids, ())):
            yield f"exemplars of {group} {condition} are not shown equally often"
