"""Trial lists: which stimuli an experiment shows, where and in which order.

One module of this package is one design. It decorates one function with `register_design`; the registry
finds it by itself, and no other line changes.
"""

from __future__ import annotations

from stimgen.trials.available import Available, Exemplar, OptionError
from stimgen.trials.design import DESIGNS, Design, TrialOptions, register_design
from stimgen.trials.make import TrialList, design_columns, make_trials

__all__ = [
    "DESIGNS",
    "Available",
    "Design",
    "Exemplar",
    "OptionError",
    "TrialList",
    "TrialOptions",
    "design_columns",
    "make_trials",
    "register_design",
]
