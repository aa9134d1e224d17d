"""The seal of a record: the SHA-256 of all that it says, by which a later change is found.

It shows an accident or an edit. Who changes a record and computes the seal anew is not found by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stimgen.runs.record import Record

SEAL = "record_sha256"
"""Key of the seal in a record."""


class AlteredError(Exception):
    """A record is not as it was written; the message is the rest of a sentence.

    Attributes
    ----------
    record
        What it says now.
    """

    def __init__(self, problem: str, record: Record) -> None:
        super().__init__(problem)
        self.record = record


def content_sha256(content: Mapping[str, Any]) -> str:
    """Return the seal of a record's content: the SHA-256 of its JSON without spaces, keys in order.

    Parameters
    ----------
    content
        What is in the file; the seal itself is left out.

    Raises
    ------
    ValueError
        If a number in it is not finite.

    Examples
    --------
    >>> content_sha256({"b": 1.5, "a": None}) == content_sha256({"a": None, "b": 1.5, SEAL: "any"})
    True
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: Record) -> Record:
    """Return a record with its seal, whatever seal it had."""
    return record.model_copy(update={SEAL: content_sha256(json.loads(record.model_dump_json()))})


def parse_record(content: bytes) -> Record:
    """Return the record that a file holds.

    Raises
    ------
    pydantic.ValidationError
        If it holds none.
    AlteredError
        If its seal is missing, or is not that of its content.
    """
    record = Record.model_validate_json(content)
    if record.record_sha256 is None:
        raise AlteredError(f"has no {SEAL}: it was altered, or an older version of stimgen wrote it", record)
    try:
        right = content_sha256(json.loads(content)) == record.record_sha256
    except ValueError:
        right = False
    if not right:
        raise AlteredError(f"was altered after it was written: its {SEAL} is not that of its content", record)
    return record
