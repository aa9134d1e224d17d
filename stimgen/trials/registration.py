"""The registry of designs, and what a design is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from stimgen.column import Column
from stimgen.registry import Registry
from stimgen.trials.exemplars import Available
from stimgen.trials.options import TrialOptions
from stimgen.trials.order import Trial

Maker = Callable[[Available, Any, np.random.Generator], list[Trial]]
Function = TypeVar("Function", bound=Maker)


@dataclass(frozen=True)
class Design:
    """How trials show stimuli.

    Attributes
    ----------
    name
        Name in the manifest.
    make
        ``make(available, options, rng)`` returns all trials, in any order. A row has the design's columns,
        source, condition, seed and stimulus_id.
    options
        Model of the options.
    patches
        Names of what is shown in a trial: columns P_id, P_x and P_y of each are the stimulus and the place of
        the patch in it.
    columns
        The design's own columns, without those of the patches.
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
