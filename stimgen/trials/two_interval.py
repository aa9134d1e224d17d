"""Two intervals: which shows the original, or whether both show the same image."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.trials.available import Available, Row
from stimgen.trials.balance import Balanced, Trial, balance, place_patches, side_of
from stimgen.trials.design import ConditionOptions, TwoIntervalTiming, register_design

KINDS = ("original", "stimulus")
KEY = {
    "which_is_original": Balanced("correct_key", ("left", "right"), ("condition", "source", "stimulus_id")),
    "same_different": Balanced("correct_key", ("s", "d"), ("condition", "source", "stimulus_id")),
}
FIRST_IS = Balanced("first_is", KINDS, ("condition", "correct_key"))

INTERVALS = ("first", "second")
INTERVAL_COLUMNS = (
    Column("original_id", "Original", "The image that the stimulus is compared with."),
    Column("first_is", "First image", '"original" or "stimulus": what the first interval shows.'),
    Column("second_is", "Second image", "The same of the second interval."),
    Column("isi_s", "Interval", "From the end of the first interval to the start of the second.", "s"),
)


class TwoIntervalOptions(ConditionOptions, TwoIntervalTiming):
    """Two images one after the other: a stimulus and its original, or in same_different two parts of one."""

    conditions: tuple[str, ...] | None = Field(
        None, description="Conditions to show; by default all but the original."
    )
    task: Literal["which_is_original", "same_different"] = Field(
        "which_is_original",
        description="which_is_original: key left if the first interval shows the original, right if the "
        "second does. same_different: key s if both intervals show parts of one image that do not overlap "
        "(the original or the stimulus), d if they show parts of both; needs crop_px.",
    )

    @property
    def balanced(self) -> tuple[Balanced, ...]:
        """The correct key and, in same_different, what the first interval shows."""
        return (KEY[self.task], FIRST_IS) if self.task == "same_different" else (KEY[self.task],)


@register_design(
    "two_interval",
    options=TwoIntervalOptions,
    patches=INTERVALS,
    columns=(
        Column("task", "Task", "which_is_original or same_different."),
        *INTERVAL_COLUMNS,
        Column(
            "correct_key",
            "Correct key",
            "which_is_original: left if the first interval shows the original, else right; same_different: s "
            "for the same image, d for different ones.",
        ),
    ),
)
def two_interval(available: Available, options: TwoIntervalOptions, rng: np.random.Generator) -> list[Trial]:
    """Return the trials."""
    asks_same = options.task == "same_different"
    side = side_of(options.crop_px, available.size_px, two=asks_same)
    rows = options.rows(available, rng, with_original=False)
    originals = available.originals(dict.fromkeys(row["source"] for row in rows))
    for rule in options.balanced:
        balance(rows, rule, rng)
    for row in rows:
        if not asks_same:
            row["first_is"] = KINDS[row["correct_key"] == "right"]
        row |= {"task": options.task, "original_id": originals[row["source"]], "isi_s": options.isi_s}
        row |= two_images(row, available.size_px, side, rng)
    return [[row] for row in rows]


def two_images(row: Row, size_px: int, side: int, rng: np.random.Generator) -> Row:
    """Return the columns of the images of two intervals."""
    first_is: str = row["first_is"]
    second_is = first_is if row["correct_key"] == "s" else KINDS[first_is == KINDS[0]]
    images = {"stimulus": row["stimulus_id"], "original": row["original_id"]}
    shown = dict(zip(INTERVALS, (images[first_is], images[second_is]), strict=True))
    return {"second_is": second_is} | place_patches(shown, size_px, side, rng)
