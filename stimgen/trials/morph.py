"""Interleaved staircases over conditions that are the levels of a ladder."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.trials.available import Available, Exemplar, OptionError, Row, check_count, taking_turns
from stimgen.trials.balance import Balanced, Trial, balance, side_of
from stimgen.trials.design import TwoIntervalTiming, register_design
from stimgen.trials.two_interval import INTERVAL_COLUMNS, INTERVALS, KINDS, two_images

Level = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
KEY = Balanced("correct_key", ("left", "right"), ("staircase",))


class MorphOptions(TwoIntervalTiming):
    """Two intervals: the original, and a stimulus whose level an adaptive procedure chooses.

    Each source has a staircase per start level, all of them interleaved. A trial has one row per level, with
    the files that are shown if the procedure asks for that level.
    """

    levels: dict[str, Level] = Field(
        min_length=2,
        description="The ladder: conditions and their levels from 0 to 1, in ascending order, such as "
        "{pool1: 0.2, pool2: 0.4}.",
    )
    starts: tuple[Level, ...] | None = Field(
        None,
        min_length=1,
        description="Level at which each staircase of a source starts; by default two staircases, from the "
        "lowest and from the highest level.",
    )
    trials_per_staircase: int = Field(30, ge=1, le=1000, description="Trials of each staircase.")

    @property
    def balanced(self) -> tuple[Balanced, ...]:
        """Which interval shows the original."""
        return (KEY,)

    @property
    def turns(self) -> tuple[str, int]:
        """Exemplars take turns at each level of each staircase."""
        return "staircase", self.trials_per_staircase


@register_design(
    "morph",
    options=MorphOptions,
    patches=INTERVALS,
    columns=(
        Column("staircase", "Staircase", "Which staircase the trial belongs to: SOURCE_startN."),
        Column("start_level", "Start level", "Level of the staircase's first trial."),
        Column(
            "level", "Level", "Level of the condition: show the row of the level that the staircase asks for."
        ),
        *INTERVAL_COLUMNS,
        Column("correct_key", "Correct key", "left if the first interval shows the original, else right."),
    ),
)
def morph(available: Available, options: MorphOptions, rng: np.random.Generator) -> list[Trial]:
    """Return the trials, each with a row per level."""
    levels = list(options.levels.values())
    if levels != sorted(set(levels)):
        raise OptionError(
            "levels", "The levels do not ascend.", "List the conditions from the lowest level up."
        )
    starts = (levels[0], levels[-1]) if options.starts is None else options.starts
    for start in starts:
        if start not in levels:
            known = ", ".join(map(str, levels))
            raise OptionError("starts", f"No condition has the level {start}.", f"Start at one of {known}.")
    side = side_of(options.crop_px, available.size_px)
    sources = available.chosen_sources(options.sources)
    try:
        ladder = available.chosen_conditions(tuple(options.levels), with_original=False)
    except OptionError as error:
        raise OptionError("levels", error.problem, error.cure) from None
    originals = available.originals(sources)
    count = options.trials_per_staircase
    check_count(len(sources) * len(starts) * count * len(ladder), "trials_per_staircase")
    trials: list[tuple[Row, tuple[Exemplar, ...]]] = []
    for source in sources:
        shared = {"source": source, "original_id": originals[source], "isi_s": options.isi_s}
        for number, start in enumerate(starts, start=1):
            shared |= {"staircase": f"{source}_start{number}", "start_level": start}
            chosen = [taking_turns(available.cell(source, name), count, rng) for name in ladder]
            trials += [(dict(shared), exemplars) for exemplars in zip(*chosen, strict=True)]
    balance([row for row, _ in trials], KEY, rng)
    made = []
    for row, exemplars in trials:
        row["first_is"] = KINDS[row["correct_key"] == "right"]
        rows = [
            row | exemplar.row | {"level": level} for exemplar, level in zip(exemplars, levels, strict=True)
        ]
        made.append([row | two_images(row, available.size_px, side, rng) for row in rows])
    return made
