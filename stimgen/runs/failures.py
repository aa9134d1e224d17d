"""What is said of a stimulus that could not be made."""

from __future__ import annotations

import traceback
from pathlib import Path

from pydantic import ValidationError

from stimgen.errors import StimgenError, of_the_machine
from stimgen.runs.tables import Failure


def failure_of(stimulus_id: str, error: Exception) -> Failure:
    """Return the row of failures.csv for an error: its cause, and what to do about it."""
    known = error if isinstance(error, StimgenError) else of_the_machine(error)
    if known is not None:
        return Failure(stimulus_id, known.problem, known.cure)
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False)
        # A statistic is a number or a truth value: of one that is not finite there are two errors.
        if {detail["type"] for detail in details} <= {"finite_number", "bool_type"}:
            types = ("float", "bool")
            names = dict.fromkeys(
                next(part for part in reversed(detail["loc"]) if isinstance(part, str) and part not in types)
                for detail in details
            )
            return Failure(
                stimulus_id,
                f"What was computed is not a finite number: {' '.join(names)}.",
                "Look at the weights of the network, whose numbers may be too large, or try another seed.",
            )
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        stimulus_id,
        f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})",
        "This is unexpected: please report it with the manifest.",
    )
