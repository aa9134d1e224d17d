"""Spatial three-alternative oddity, as in Wallis et al. (2017)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.trials.available import Available
from stimgen.trials.balance import Balanced, Trial, balance, place_patches, side_of
from stimgen.trials.design import ConditionOptions, register_design

WALLIS = "Wallis et al. (2017), J. Vis. 17(12):5"
KEYS = {"left": "left", "right": "right", "bottom": "down"}
"""Key of each position of the triangle."""

ODD_IS = Balanced("odd_is", ("original", "stimulus"), ("condition", "source", "stimulus_id"))
POSITION = Balanced("odd_position", tuple(KEYS), ("condition", "odd_is"))


class OddityOptions(ConditionOptions):
    """Three patches: two of one image that do not overlap, and an odd one of another image.

    In each trial one image is a stimulus and the other the original of its source; either may be the odd one.
    The defaults are those of Wallis et al. (2017).
    """

    conditions: tuple[str, ...] | None = Field(
        None, description="Conditions to show; by default all but the original."
    )
    crop_px: int = Field(
        128,
        ge=2,
        le=2048,
        multiple_of=2,
        description="Side of the patches, px; an even number, and at most half the stimuli's side.",
    )

    @property
    def balanced(self) -> tuple[Balanced, ...]:
        """Which image is odd, and where it is."""
        return (ODD_IS, POSITION)


@register_design(
    "oddity",
    options=OddityOptions,
    patches=tuple(KEYS),
    columns=(
        Column("odd_position", "Odd position", "left, right or bottom: where the odd patch is.", "", WALLIS),
        Column(
            "odd_is",
            "Odd image",
            '"original": the odd patch is cut from the original, the others from the stimulus; "stimulus": '
            "the reverse.",
            "",
            WALLIS,
        ),
        Column("original_id", "Original", "The original of the source: the other image of the trial."),
        Column("correct_key", "Correct key", "Key of the odd position: left, right or down."),
    ),
)
def oddity(available: Available, options: OddityOptions, rng: np.random.Generator) -> list[Trial]:
    """Return the trials, with stimulus and original at random places in them."""
    side = side_of(options.crop_px, available.size_px, two=True)
    rows = options.rows(available, rng, with_original=False)
    originals = available.originals(dict.fromkeys(row["source"] for row in rows))
    balance(rows, ODD_IS, rng)
    balance(rows, POSITION, rng)
    for row in rows:
        images = row["stimulus_id"], originals[row["source"]]
        odd, common = images[::-1] if row["odd_is"] == "original" else images
        row["original_id"], row["correct_key"] = images[1], KEYS[row["odd_position"]]
        shown = {name: odd if name == row["odd_position"] else common for name in KEYS}
        row |= place_patches(shown, available.size_px, side, rng)
    return [[row] for row in rows]
