"""Which stimuli a figure shows, and where: rows and columns of conditions, sources or seeds."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pandas as pd

from stimgen.errors import InputError, nearest
from stimgen.report.reported import ReportedRun

Key = Literal["condition", "source", "seed"]
KEYS: tuple[Key, ...] = ("condition", "source", "seed")


class Cell(NamedTuple):
    """A stimulus in a figure: its run, its row of stimuli.csv, its id, and the SHA-256 of its PNG file."""

    run: ReportedRun
    row: Mapping[Hashable, Any]
    stimulus_id: str
    png_sha256: str


@dataclass(frozen=True)
class Grid:
    """What a figure shows: what rows and columns are and their names, and what is the same in all cells.

    `cells` has each stimulus by the names of its row and column. Stimuli without a seed are shown for every
    seed.
    """

    rows_key: Key
    columns_key: Key
    fixed_key: Key
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    fixed: str
    cells: Mapping[tuple[str, str], Cell] = field(repr=False)


def parse_select(options: Sequence[str]) -> dict[Key, tuple[str, ...]]:
    """Return the names to show by key, in the order of the command line; other options raise InputError.

    Examples
    --------
    >>> parse_select(["condition=pool1,pool2", "seed=2"])
    {'condition': ('pool1', 'pool2'), 'seed': ('2',)}
    """
    selected: dict[Key, tuple[str, ...]] = {}
    for option in options:
        word, equals, names = option.partition("=")
        if not equals:
            raise InputError(f'--select "{option}" has no "=".', "Write --select condition=pool1,pool2.")
        key = _key(word.strip(), "--select")
        chosen = selected.get(key, ()) + tuple(name.strip() for name in names.split(","))
        twice = next((name for name in chosen if chosen.count(name) > 1), None)
        if twice is not None:
            raise InputError(f'--select {key} names "{twice}" twice.', "Name it once.")
        selected[key] = chosen
    return selected


def make_grid(
    runs: Sequence[ReportedRun],
    *,
    rows: str = "condition",
    columns: str = "source",
    select: Mapping[Key, tuple[str, ...]] | None = None,
) -> Grid:
    """Return which stimuli of some runs are shown where.

    Names are in the order of `select`, or else of the manifests: originals, layer sets, other controls. What
    is the same in all cells is the first name in the manifest (of conditions, the first layer set) unless
    `select` names it.
    """
    rows_key, columns_key = _key(rows, "--rows"), _key(columns, "--columns")
    if rows_key == columns_key:
        raise InputError(f"--rows and --columns are both {rows}.", f"Choose two of {', '.join(KEYS)}.")
    (fixed_key,) = (key for key in KEYS if key not in (rows_key, columns_key))
    selected = dict(select or {})
    shown = {key: _names(runs, key, selected.get(key)) for key in (rows_key, columns_key)}
    fixed = _fixed(runs, fixed_key, selected.get(fixed_key))
    shown[fixed_key] = (fixed,)
    _refuse_different_things_of_one_name(runs, shown)
    found = _find(runs, shown, rows_key, columns_key)
    places = itertools.product(shown[rows_key], shown[columns_key])
    cells = {place: found[place] for place in places if place in found}
    if not cells:
        raise InputError(
            f"There is no stimulus to show with {fixed_key} {fixed}.",
            f"Choose another with --select {fixed_key}=NAME; stimuli.csv lists what there is.",
        )
    return Grid(rows_key, columns_key, fixed_key, shown[rows_key], shown[columns_key], fixed, cells)


def _key(word: str, option: str) -> Key:
    for key in KEYS:
        if word == key:
            return key
    raise InputError(f'{option}: unknown key "{word}".', nearest(word, KEYS))


def _all_names(run: ReportedRun, key: Key) -> tuple[str, ...]:
    return {"condition": run.conditions, "source": run.sources, "seed": run.seeds}[key]


def _names(runs: Sequence[ReportedRun], key: Key, selected: tuple[str, ...] | None) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(name for run in runs for name in _all_names(run, key)))
    if selected is not None:
        unknown = next((name for name in selected if name not in known), None)
        if unknown is not None:
            raise InputError(f'--select {key}: there is no {key} "{unknown}".', nearest(unknown, known))
        return selected
    originals = {name for run in runs for name in run.originals} if key == "condition" else ()
    return tuple(sorted(known, key=lambda name: name not in originals))


def _fixed(runs: Sequence[ReportedRun], key: Key, selected: tuple[str, ...] | None) -> str:
    if selected is None:
        return _all_names(runs[0], key)[0]
    names = _names(runs, key, selected)
    if len(names) > 1:
        raise InputError(
            f"--select {key} names {len(names)}, and a figure shows one where rows and columns are others.",
            f"Select one, or make the rows or columns of {key}.",
        )
    return names[0]


def _refuse_different_things_of_one_name(
    runs: Sequence[ReportedRun], shown: Mapping[Key, tuple[str, ...]]
) -> None:
    for first, second in itertools.combinations(runs, 2):
        for condition in shown["condition"]:
            both = condition in first.conditions and condition in second.conditions
            if both and not (condition in first.originals and condition in second.originals):
                raise InputError(
                    f'{first.folder} and {second.folder} both have a condition "{condition}".',
                    "Leave it out with --select condition=…, or rename it in one of the manifests.",
                )
        files = [
            dict(zip(run.table["source"], run.table["source_sha256"], strict=True)) for run in (first, second)
        ]
        for source in shown["source"]:
            if source in files[0] and source in files[1] and files[0][source] != files[1][source]:
                raise InputError(
                    f'The source "{source}" is another file in {first.folder} than in {second.folder}.',
                    "Leave it out with --select source=…, or rename it in one of the manifests.",
                )


def _find(
    runs: Sequence[ReportedRun], shown: Mapping[Key, tuple[str, ...]], rows_key: Key, columns_key: Key
) -> dict[tuple[str, str], Cell]:
    """Return the stimuli that are shown, by the names of their row and column."""
    cells: dict[tuple[str, str], Cell] = {}
    for run in runs:
        of_names = run.table["condition"].isin(shown["condition"]) & run.table["source"].isin(shown["source"])
        for row in run.table[of_names].to_dict("records"):
            # A control without randomness is the same whatever the seed.
            seeds = shown["seed"] if pd.isna(row["seed"]) else (str(row["seed"]),)
            for seed in (seed for seed in seeds if seed in shown["seed"]):
                names = {"condition": row["condition"], "source": row["source"], "seed": seed}
                cell = Cell(run, row, row["stimulus_id"], row["png_sha256"].removeprefix("sha256:"))
                known = cells.setdefault((names[rows_key], names[columns_key]), cell)
                if known.png_sha256 != cell.png_sha256:
                    raise InputError(
                        f"{known.stimulus_id} of {known.run.folder} and {cell.stimulus_id} of {run.folder} "
                        "are different images for one cell.",
                        "Leave one of them out with --select condition=… or source=….",
                    )
    return cells
