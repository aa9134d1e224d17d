"""Trials that show every condition of every source equally often, before a design fills them."""

from __future__ import annotations

import numpy as np

from stimgen.trials.balance import Row, even_choice
from stimgen.trials.exemplars import Available, Exemplar, chosen_conditions, chosen_sources
from stimgen.trials.options import ConditionOptions, OptionError

MOST_TRIALS = 20_000


def cells(
    available: Available, options: ConditionOptions, rng: np.random.Generator, *, with_original: bool
) -> list[Row]:
    """Return `repeats` rows per condition and source, in which its exemplars take turns.

    Raises
    ------
    OptionError
        If the options name what is not there, or ask for more than 20000 trials.
    """
    conditions = chosen_conditions(available, options.conditions, with_original=with_original)
    sources = chosen_sources(available, options.sources)
    check_count(len(conditions) * len(sources) * options.repeats, "repeats")
    rows = []
    for condition in conditions:
        for source in sources:
            own = available.cell(source, condition)
            rows += [judged(own[index]) for index in even_choice(options.repeats, len(own), rng)]
    return rows


def check_count(count: int, option: str) -> None:
    """Raise OptionError if a list would have more than 20000 trials."""
    if count > MOST_TRIALS:
        raise OptionError(
            option,
            f"The list would have {count} trials, more than {MOST_TRIALS}.",
            f"Reduce {option}, or name fewer conditions or sources.",
        )


def judged(exemplar: Exemplar) -> Row:
    """Return the columns that say which stimulus a row is about."""
    return {
        "source": exemplar.source,
        "condition": exemplar.condition,
        "seed": exemplar.seed,
        "stimulus_id": exemplar.stimulus_id,
    }
