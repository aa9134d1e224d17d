"""Stimuli that trials can show, and the choice of them that options make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stimgen.errors import InputError, nearest

MOST_TRIALS = 20_000
Row = dict[str, Any]


class OptionError(InputError):
    """An option of a trial list that cannot be fulfilled with these stimuli."""

    def __init__(self, option: str, problem: str, cure: str) -> None:
        super().__init__(problem, cure)
        self.option = option


@dataclass(frozen=True)
class Exemplar:
    """One stimulus of a run or of a plan; `is_original` if it is the control `original`."""

    stimulus_id: str
    source: str
    condition: str
    seed: int | None
    is_original: bool

    @property
    def row(self) -> Row:
        """The columns that say which stimulus a row is about."""
        return {name: getattr(self, name) for name in ("source", "condition", "seed", "stimulus_id")}


@dataclass(frozen=True)
class Available:
    """The stimuli that trials can show, in the order of the plan, with a side of `size_px`.

    `sources` and `conditions` are all, also those without an exemplar, and `original` is the condition that
    is the control `original`. Methods raise `OptionError` if an option cannot be fulfilled.
    """

    exemplars: tuple[Exemplar, ...]
    size_px: int
    sources: tuple[str, ...]
    conditions: tuple[str, ...]
    original: str | None

    @classmethod
    def of(cls, exemplars: Sequence[Exemplar], size_px: int) -> Available:
        """Return all stimuli of a run or of a plan."""
        return cls(
            tuple(exemplars),
            size_px,
            tuple(dict.fromkeys(exemplar.source for exemplar in exemplars)),
            tuple(dict.fromkeys(exemplar.condition for exemplar in exemplars)),
            next((exemplar.condition for exemplar in exemplars if exemplar.is_original), None),
        )

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str], Sequence[Exemplar]]:
        cells: dict[tuple[str, str], list[Exemplar]] = {}
        for exemplar in self.exemplars:
            cells.setdefault((exemplar.source, exemplar.condition), []).append(exemplar)
        return cells

    def cell(self, source: str, condition: str) -> Sequence[Exemplar]:
        """Return the exemplars of a source in a condition, at least one."""
        if (source, condition) not in self._cells:
            raise OptionError(
                "conditions",
                f"There is no stimulus of the source {source} in the condition {condition}.",
                "Leave the source or the condition out, or set accepted_only to false if that is the cause.",
            )
        return self._cells[source, condition]

    def chosen_sources(self, named: Sequence[str] | None) -> tuple[str, ...]:
        """Return the sources that are `named`, by default all."""
        return _chosen("source", self.sources, self.sources if named is None else named)

    def chosen_conditions(self, named: Sequence[str] | None, *, with_original: bool) -> tuple[str, ...]:
        """Return the conditions that are `named`, by default all; the control `original` if it is allowed."""
        if named is None:
            named = [name for name in self.conditions if with_original or name != self.original]
        found = _chosen("condition", self.conditions, named)
        if not with_original and self.original in found:
            raise OptionError(
                "conditions",
                f"The condition {self.original} is the original, with which the others are compared.",
                "Leave it out of conditions.",
            )
        return found

    def originals(self, sources: Iterable[str]) -> Mapping[str, str]:
        """Return the id of the original of each source."""
        if self.original is None:
            raise OptionError(
                "design",
                "Trials of this design show originals, and the control original is not among the controls.",
                "Add original to the manifest's controls, and run it.",
            )
        return {source: self.cell(source, self.original)[0].stimulus_id for source in sources}


def check_count(count: int, option: str) -> None:
    """Raise OptionError if a list would have more than 20000 trials."""
    if count > MOST_TRIALS:
        raise OptionError(
            option,
            f"The list would have {count} trials, more than {MOST_TRIALS}.",
            f"Reduce {option}, or name fewer conditions or sources.",
        )


def taking_turns(exemplars: Sequence[Exemplar], count: int, rng: np.random.Generator) -> list[Exemplar]:
    """Return `count` of the exemplars, each equally often to within one, in random order."""
    order = rng.permutation(len(exemplars)).tolist()
    chosen = [exemplars[order[index % len(order)]] for index in range(count)]
    return [chosen[index] for index in rng.permutation(count).tolist()]


def _chosen(word: str, known: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise OptionError(f"{word}s", f'Unknown {word} "{name}".', nearest(name, known))
    if not names or len(set(names)) < len(names):
        problem = f"A {word} is named twice." if names else f"There is no {word} to show."
        raise OptionError(
            f"{word}s", problem, "Name at least one, and each once; repeats shows it more often."
        )
    return tuple(names)
