"""Stimuli that trials can show, and the choice of them that options make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from stimgen.errors import nearest
from stimgen.trials.options import OptionError


@dataclass(frozen=True)
class Exemplar:
    """One stimulus of a run or of a plan.

    Attributes
    ----------
    stimulus_id, source, condition, seed
        As in stimuli.csv.
    is_original
        Whether it is the control `original`: the source itself.
    """

    stimulus_id: str
    source: str
    condition: str
    seed: int | None
    is_original: bool


@dataclass(frozen=True)
class Available:
    """What trials can show.

    Attributes
    ----------
    exemplars
        In the order of the plan.
    size_px
        Side of each, px.
    sources, conditions
        Ids of all sources and names of all conditions, in their order, also of those without an exemplar.
    original
        The condition that is the control `original`; None if there is none.
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
            tuple(dict.fromkeys(one.source for one in exemplars)),
            tuple(dict.fromkeys(one.condition for one in exemplars)),
            next((one.condition for one in exemplars if one.is_original), None),
        )

    def cell(self, source: str, condition: str) -> tuple[Exemplar, ...]:
        """Return the exemplars of a source in a condition.

        Raises
        ------
        OptionError
            If there is none.
        """
        found = self._cells.get((source, condition))
        if not found:
            raise OptionError(
                "conditions",
                f"There is no stimulus of the source {source} in the condition {condition}.",
                "Leave the source or the condition out, or set accepted_only to false if that is the cause.",
            )
        return tuple(found)

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str], Sequence[Exemplar]]:
        cells: dict[tuple[str, str], list[Exemplar]] = {}
        for one in self.exemplars:
            cells.setdefault((one.source, one.condition), []).append(one)
        return cells


def chosen_sources(available: Available, named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the sources that are `named`, by default all.

    Raises
    ------
    OptionError
        If one is unknown or named twice, or if there is none.
    """
    return _chosen("sources", "source", available.sources, named, available.sources)


def chosen_conditions(
    available: Available, named: Sequence[str] | None, *, with_original: bool
) -> tuple[str, ...]:
    """Return the conditions that are `named`, by default all, the control `original` only `with_original`.

    Raises
    ------
    OptionError
        If one is unknown or named twice, if there is none, or if `original` is named where it cannot be.
    """
    known = available.conditions
    default = known if with_original else tuple(name for name in known if name != available.original)
    found = _chosen("conditions", "condition", known, named, default)
    if not with_original and available.original in found:
        raise OptionError(
            "conditions",
            f"The condition {available.original} is the original, with which the others are compared.",
            "Leave it out of conditions.",
        )
    return found


def originals(available: Available, sources: Iterable[str]) -> Mapping[str, Exemplar]:
    """Return the original of each source.

    Raises
    ------
    OptionError
        If there is none.
    """
    condition = available.original
    if condition is None:
        raise OptionError(
            "design",
            "Trials of this design show originals, and the control original is not among the controls.",
            "Add original to the manifest's controls, and run it.",
        )
    return {source: available.cell(source, condition)[0] for source in sources}


def _chosen(
    option: str, word: str, known: tuple[str, ...], named: Sequence[str] | None, default: tuple[str, ...]
) -> tuple[str, ...]:
    names = default if named is None else tuple(named)
    for name in names:
        if name not in known:
            raise OptionError(option, f'Unknown {word} "{name}".', nearest(name, known))
    if len(set(names)) < len(names):
        raise OptionError(option, f"A {word} is named twice.", "Name each once, and set repeats instead.")
    if not names:
        raise OptionError(option, f"There is no {word} to show.", f"Name at least one {word}.")
    return names
