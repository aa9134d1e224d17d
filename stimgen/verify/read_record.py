"""The record of a stimulus read, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from stimgen.runs.record import Record
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.seal import AlteredError, parse_record
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
        record = parse_record(read_regular(folder.record(stimulus_id)))
    except UnreadableError as error:
        return ReadRecord(None, str(error))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, detail["loc"]))
        return ReadRecord(None, f"is damaged: {place}{': ' if place else ''}{detail['msg']}")
    except AlteredError as error:
        own = error.record.stimulus_id == stimulus_id
        return ReadRecord(None, str(error), error.record if own else None)
    if record.stimulus_id != stimulus_id:
        return ReadRecord(None, f"is the record of {record.stimulus_id}")
    if record.filename != folder.filename(stimulus_id):
        return ReadRecord(None, f"names the file {record.filename}, which is not where this run has it")
    return ReadRecord(record)
