"""One image at a time, put into a category with a key."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stimgen.column import Column
from stimgen.errors import nearest
from stimgen.trials.available import Available, OptionError
from stimgen.trials.balance import Trial, place_patches, side_of
from stimgen.trials.design import ConditionOptions, Key, Seconds, register_design
from stimgen.trials.rating import KEYS


class CategoryOptions(ConditionOptions):
    """One image, whose category is named with a key, such as its material."""

    response_s: Seconds = Field(2.0, description="How long a response is waited for, s.")
    by: Literal["source", "condition"] = Field(
        "source", description="Whether the source or the condition has the category."
    )
    keys: dict[str, Key] = Field(
        min_length=2,
        description="Key of each source or condition that is shown; one key may stand for several. Letters "
        "or names such as space, no digits.",
    )


@register_design(
    "category",
    options=CategoryOptions,
    patches=("image",),
    columns=(KEYS, Column("correct_key", "Correct key", "Key of the category of the source or condition.")),
)
def category(available: Available, options: CategoryOptions, rng: np.random.Generator) -> list[Trial]:
    """Return the trials."""
    side = side_of(options.crop_px, available.size_px)
    rows = options.rows(available, rng, with_original=True)
    shown = dict.fromkeys(row[options.by] for row in rows)
    for name in shown:
        if name not in options.keys:
            raise OptionError(
                "keys",
                f"There is no key for the {options.by} {name}.",
                f"Add one: {{{name}: k}}, or leave it out.",
            )
    for name in options.keys:
        if name not in shown:
            raise OptionError(
                "keys", f'There is a key for "{name}", which is not shown.', nearest(name, shown)
            )
    keys = dict.fromkeys(options.keys.values())
    if len(keys) < 2:
        raise OptionError(
            "keys", "All have the same key.", "Give at least two categories a key of their own."
        )
    for row in rows:
        row |= place_patches({"image": row["stimulus_id"]}, available.size_px, side, rng)
        row |= {"keys": " ".join(keys), "correct_key": options.keys[row[options.by]]}
    return [[row] for row in rows]
