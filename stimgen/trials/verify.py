"""Whether a finished trial list keeps its constraints, found from its rows alone.

This is written independently of how lists are made, so that a fault there cannot hide here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from stimgen.trials.available import Available, Row
from stimgen.trials.balance import Balanced
from stimgen.trials.design import TrialOptions


def verify(rows: Sequence[Row], available: Available, options: TrialOptions, patches: Sequence[str]) -> None:
    """Raise RuntimeError if a trial list does not keep a constraint."""
    broken = [
        *_order(rows, options),
        *_patches(rows, available, patches),
        *(message for rule in options.balanced for message in _balance(_trials(rows), rule)),
    ]
    if options.turns is not None:
        broken += _exemplars(rows, available, *options.turns)
    if broken:
        raise RuntimeError(f"the trial list breaks its constraints: {'; '.join(broken[:3])}")


def _trials(rows: Sequence[Row]) -> list[Row]:
    """Return one row of each trial."""
    return list({row["trial"]: row for row in rows}.values())


def _order(rows: Sequence[Row], options: TrialOptions) -> Iterator[str]:
    trials = _trials(rows)
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
        for index, (image, x, y) in enumerate(places):
            for other, other_x, other_y in places[:index]:
                if image == other and abs(x - other_x) < side and abs(y - other_y) < side:
                    yield f"patches of trial {number} overlap"


def _balance(trials: Sequence[Row], rule: Balanced) -> Iterator[str]:
    for depth in range(len(rule.within) + 1):
        counts: dict[tuple[str, ...], Counter[str]] = {}
        for row in trials:
            group = tuple(row[column] for column in rule.within[:depth])
            counts.setdefault(group, Counter(dict.fromkeys(rule.values, 0)))[row[rule.column]] += 1
        for group, found in counts.items():
            if max(found.values()) - min(found.values()) > 1 or set(found) != set(rule.values):
                yield f"{rule.column} is not balanced in {' '.join(group) or 'the list'}"


def _exemplars(rows: Sequence[Row], available: Available, within: str, trials: int) -> Iterator[str]:
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for row in rows:
        group = row[within], row["source"], row["condition"]
        counts.setdefault(group, Counter())[row["stimulus_id"]] += 1
    of_cell: dict[tuple[str, str], list[str]] = {}
    for exemplar in available.exemplars:
        of_cell.setdefault((exemplar.source, exemplar.condition), []).append(exemplar.stimulus_id)
    for (group_name, *cell), found in counts.items():
        each = [found[stimulus_id] for stimulus_id in of_cell[cell[0], cell[1]]]
        if sum(each) != trials or found.total() != trials or max(each) - min(each) > 1:
            yield f"exemplars of {group_name} {cell[1]} are not shown equally often"
