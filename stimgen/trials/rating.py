"""One image at a time, rated with a key."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.trials.available import Available, OptionError
from stimgen.trials.balance import Trial, place_patches, side_of
from stimgen.trials.design import ConditionOptions, Key, Seconds, register_design

KEYS = Column("keys", "Keys", "The keys that count as responses, separated by spaces.")


class RatingOptions(ConditionOptions):
    """One image, rated with a key, such as for how natural it looks."""

    presentation_s: Seconds = Field(1.0, description="How long the image is shown, s.")
    response_s: Seconds = Field(5.0, description="How long a response is waited for, s.")
    keys: tuple[Key, ...] = Field(
        ("a", "s", "d", "f", "g"),
        min_length=2,
        max_length=20,
        description="Keys from the lowest rating to the highest: letters or names such as space, no digits.",
    )


@register_design("rating", options=RatingOptions, patches=("image",), columns=(KEYS,))
def rating(available: Available, options: RatingOptions, rng: np.random.Generator) -> list[Trial]:
    """Return the trials."""
    if len(set(options.keys)) < len(options.keys):
        raise OptionError("keys", "A key is named twice.", "Give every rating a key of its own.")
    side = side_of(options.crop_px, available.size_px)
    rows = options.rows(available, rng, with_original=True)
    for row in rows:
        row |= place_patches({"image": row["stimulus_id"]}, available.size_px, side, rng)
        row["keys"] = " ".join(options.keys)
    return [[row] for row in rows]
