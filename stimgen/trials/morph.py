"""Interleaved staircases over conditions that are the levels of a ladder."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.trials.balance import Balanced, Row, balance, even_choice
from stimgen.trials.cells import check_count, judged
from stimgen.trials.crops import place_patches, side_of
from stimgen.trials.exemplars import Available, Exemplar, chosen_conditions, chosen_sources, originals
from stimgen.trials.options import OptionError, TwoIntervalTiming
from stimgen.trials.order import Trial
from stimgen.trials.registration import register_design
from stimgen.trials.two_interval import INTERVAL_COLUMNS, INTERVALS, KINDS

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
    sources = chosen_sources(available, options.sources)
    try:
        ladder = chosen_conditions(available, tuple(options.levels), with_original=False)
    except OptionError as error:
        raise OptionError("levels", error.problem, error.cure) from None
    original = originals(available, sources)
    count = options.trials_per_staircase
    check_count(len(sources) * len(starts) * count * len(ladder), "trials_per_staircase")
    trials: list[tuple[Row, list[Exemplar]]] = []
    for source in sources:
        for number, start in enumerate(starts, start=1):
            staircase: Row = {"staircase": f"{source}_start{number}", "start_level": start, "source": source}
            chosen = [
                [own[index] for index in even_choice(count, len(own), rng)]
                for own in (available.cell(source, condition) for condition in ladder)
            ]
            trials += [(dict(staircase), list(one)) for one in zip(*chosen, strict=True)]
    balance([row for row, _ in trials], KEY, rng)
    made = []
    for shared, exemplars in trials:
        first_is = KINDS[shared["correct_key"] == "right"]
        shared |= {
            "first_is": first_is,
            "second_is": KINDS[first_is == KINDS[0]],
            "original_id": original[shared["source"]].stimulus_id,
            "isi_s": options.isi_s,
        }
        rows = []
        for exemplar, level in zip(exemplars, levels, strict=True):
            images = {"stimulus": exemplar.stimulus_id, "original": shared["original_id"]}
            shown = {interval: images[shared[f"{interval}_is"]] for interval in INTERVALS}
            places = place_patches(shown, available.size_px, side, rng)
            rows.append(shared | judged(exemplar) | {"level": level} | places)
        made.append(rows)
    return made
