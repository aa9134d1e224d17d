"""What a design of trials is: its registration, and the options that designs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from stimgen.column import Column
from stimgen.networks.architectures import LARGEST_SEED
from stimgen.registry import Registry
from stimgen.trials.available import Available, Row, check_count, taking_turns
from stimgen.trials.balance import Balanced, Trial

LONGEST_S = 3600.0

Seconds = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
Pause = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
Maker = Callable[[Available, Any, np.random.Generator], list[Trial]]
Function = TypeVar("Function", bound=Maker)


def _key(found: object) -> object:
    # Also a number: of one, pydantic would say that quotes make it a text.
    word = str(found)
    if word == "escape":
        raise PydanticCustomError(
            "key_name", "escape stops an experiment, and cannot be an answer; use another key."
        )
    if type(found) in (str, int, float) and not re.fullmatch("[a-z][a-z0-9_]{0,31}", word):
        raise PydanticCustomError(
            "key_name",
            '"{word}" is no name of a key that a table can hold: use small letters or names such as space or '
            "left; PsychoPy would read a digit as a number.",
            {"word": word[:40]},
        )
    return found


Key = Annotated[str, BeforeValidator(_key)]
"""PsychoPy's name of a key."""


class TrialOptions(BaseModel):
    """Options of every design. Unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    sources: tuple[str, ...] | None = Field(None, description="Sources to show; by default all.")
    crop_px: int | None = Field(
        None,
        ge=2,
        le=4096,
        multiple_of=2,
        description="Side of the patch that is shown, at a random place of the image, px; an even number, "
        "because PsychoPy resamples odd ones. By default the whole image.",
    )
    presentation_s: Seconds = Field(0.2, description="How long the stimuli are shown, s.")
    response_s: Seconds = Field(1.2, description="How long a response is waited for, s.")
    interval_s: Pause = Field(0.4, description="From the response to the next trial, s.")
    break_every: int = Field(72, ge=1, le=100_000, description="Trials in a block; a break lies between two.")
    min_source_gap: int = Field(
        2,
        ge=0,
        le=1000,
        description="Fewest other trials between two trials with the same source. Needs one source more.",
    )
    max_key_run: int | None = Field(
        4,
        ge=2,
        le=1000,
        description="Most trials in a row with the same correct key, in designs that have one; null for any.",
    )
    accepted_only: bool = Field(
        False, description="Show only stimuli that the manifest's thresholds (accept) accept."
    )
    seed: int = Field(
        1, ge=0, le=LARGEST_SEED, description="Other seeds give other lists, one per participant."
    )

    @property
    def trial_s(self) -> float:
        """Longest duration of a trial, s."""
        return self.presentation_s + self.response_s + self.interval_s

    @property
    def balanced(self) -> tuple[Balanced, ...]:
        """What is balanced, beside exemplars."""
        return ()

    @property
    def turns(self) -> tuple[str, int] | None:
        """Column within whose values a condition's exemplars take turns, and its trials in each."""
        return None


class TwoIntervalTiming(TrialOptions):
    """Timing of designs that show two images one after the other."""

    isi_s: Pause = Field(0.5, description="From the end of the first image to the start of the second, s.")

    @property
    def trial_s(self) -> float:
        """Longest duration of a trial, s."""
        return self.presentation_s + self.isi_s + super().trial_s


class ConditionOptions(TrialOptions):
    """Options of designs that show each condition equally often."""

    conditions: tuple[str, ...] | None = Field(None, description="Conditions to show; by default all.")
    repeats: int = Field(
        5, ge=1, le=1000, description="Trials per condition and source; exemplars take turns in them."
    )

    @property
    def turns(self) -> tuple[str, int]:
        """Exemplars take turns in the trials of each condition and source."""
        return "source", self.repeats

    def rows(self, available: Available, rng: np.random.Generator, *, with_original: bool) -> list[Row]:
        """Return `repeats` rows per condition and source, in which its exemplars take turns."""
        conditions = available.chosen_conditions(self.conditions, with_original=with_original)
        sources = available.chosen_sources(self.sources)
        check_count(len(conditions) * len(sources) * self.repeats, "repeats")
        return [
            exemplar.row
            for condition in conditions
            for source in sources
            for exemplar in taking_turns(available.cell(source, condition), self.repeats, rng)
        ]


@dataclass(frozen=True)
class Design:
    """How trials show stimuli.

    ``make(available, options, rng)`` returns all trials, in any order. A row has source, condition, seed and
    stimulus_id, the design's own `columns`, and P_id, P_x and P_y of each of the `patches` P that a trial
    shows: the stimulus and the place of the patch in it.
    """

    name: str
    make: Maker
    options: type[TrialOptions]
    patches: tuple[str, ...]
    columns: tuple[Column, ...]


DESIGNS: Registry[Design] = Registry("design", "stimgen.trials")


def register_design(
    name: str, *, options: type[TrialOptions], patches: tuple[str, ...], columns: tuple[Column, ...]
) -> Callable[[Function], Function]:
    """Return a decorator that makes a function the design `name`; the arguments are those of `Design`."""

    def decorate(function: Function) -> Function:
        DESIGNS.add(name, Design(name, function, options, patches, columns))
        return function

    return decorate
