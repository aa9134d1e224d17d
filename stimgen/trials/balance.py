"""What is random in a trial list: balanced values, the order of trials, and the places of patches."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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


Place = tuple[int, int]
"""Top-left corner of a patch, (x, y), px."""


def side_of(crop_px: int | None, size_px: int, *, two: bool = False) -> int:
    """Return the side of patches of images of `size_px`: `crop_px`, or the whole image's for None.

    `two` of them do not overlap if the image has twice their side: squares lie apart along x or along y.
    """
    side = size_px if crop_px is None else crop_px
    most = size_px // 2 if two else size_px
    if side > most:
        patches = "Two patches" if two else "Patches"
        patches += " of whole images" if crop_px is None else f" of {side} px"
        patches += " that do not overlap" if two else ""
        raise OptionError(
            "crop_px",
            f"{patches} do not fit into one stimulus of {size_px} px.",
            f"Set crop_px to {most // 2 * 2} at most, or make larger stimuli.",
        )
    return side


def place_patches(images: Mapping[str, str], size_px: int, side: int, rng: np.random.Generator) -> Row:
    """Return the columns P_id, P_x and P_y of each patch P, at random places."""
    of_image: dict[str, list[str]] = {}
    for name, image in images.items():
        of_image.setdefault(image, []).append(name)
    row: Row = {}
    for image, names in of_image.items():
        places = place_two(size_px, side, rng) if len(names) == 2 else (place_one(size_px, side, rng),)
        for name, (x, y) in zip(names, places, strict=True):
            row |= {f"{name}_id": image, f"{name}_x": x, f"{name}_y": y}
    return row


def place_one(size_px: int, side: int, rng: np.random.Generator) -> Place:
    """Return a place of one patch; all places are equally likely."""
    x, y = rng.integers(0, size_px - side + 1, size=2).tolist()
    return x, y


def place_two(size_px: int, side: int, rng: np.random.Generator) -> tuple[Place, Place]:
    """Return places of two patches that do not overlap; all such pairs are equally likely."""
    while True:
        apart = _apart(size_px, side, rng)
        free = (int(rng.integers(0, size_px - side + 1)), int(rng.integers(0, size_px - side + 1)))
        along_x = bool(rng.integers(2))
        # Pairs that lie apart along both axes are drawn twice as often as the others: every second is kept.
        if abs(free[0] - free[1]) < side or rng.integers(2):
            xs, ys = (apart, free) if along_x else (free, apart)
            return (xs[0], ys[0]), (xs[1], ys[1])


def _apart(size_px: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return two coordinates from 0 to size_px - side that differ by `side` or more, all equally likely."""
    low, high = sorted(rng.choice(size_px - 2 * side + 2, size=2, replace=False).tolist())
    pair = (low, high + side - 1)
    return pair if rng.integers(2) else pair[::-1]
