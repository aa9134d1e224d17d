"""The record of a stimulus read, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from stimgen.runs.record import Record, RecordError
from stimgen.runs.store import RunFolder


@dataclass(frozen=True)
class ReadRecord:
    """The record of a stimulus, or why there is none.

    Attributes
    ----------
    record
        As it was written.
    problem
        Why there is none, as the rest of a sentence.
    altered
        What it says now, if it was altered after it was written.
    """

    record: Record | None
    problem: str = ""
    altered: Record | None = None

    @property
    def missing(self) -> bool:
        """Whether there is no file."""
        return self.problem == "is missing"


def read_record(folder: RunFolder, stimulus_id: str) -> ReadRecord:
    """Return the record of a stimulus, or why there is none."""
    try:
        return ReadRecord(folder.checked_record(stimulus_id))
    except RecordError as error:
        altered = error.altered if error.altered and error.altered.stimulus_id == stimulus_id else None
        return ReadRecord(None, str(error), altered)
