"""The state of a run while it works, and its numbers in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from stimgen.runs.record import Record
from stimgen.runs.tables import Failure


@dataclass
class BatchState:
    """The batch under way; its stage as in `stimgen.texture.problem.Evaluation`."""

    name: str  # id of its first stimulus, and how many more there are
    share: float = 0.0  # of its work that is done, 0 to 1
    stage: int = 0
    stages: int = 0  # 0 before the first evaluation
    size_px: int = 0
    number: int = 0
    most: int = 0
    loss: float | None = None  # lowest of the stage so far, of the problem with the largest
    distance: float | None = None  # the same for sqrt(loss / loss of zero Gram matrices)


@dataclass
class RunState:
    """The state of a run."""

    share: float = 0.0  # of the work that is done, 0 to 1; of the batches if none is synthesised
    finished: int = 0  # stimuli that are made or failed
    failed: int = 0
    stimuli: int = 0  # all that this run makes
    elapsed_s: float = 0.0
    left_s: float | None = None  # None if that is not known yet
    per_minute: float | None = None  # stimuli made; None before the first
    batch: BatchState | None = None


class Watcher(Protocol):
    """Receives the progress of a run. An exception in it would end the run."""

    def show(self, state: RunState) -> None:
        """Receive the state of the run, about twice a second."""

    def stimulus(self, record: Record) -> None:
        """Receive the record of a stimulus that was made."""

    def failure(self, failure: Failure) -> None:
        """Receive a stimulus that could not be made."""


def clock_time(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    Examples
    --------
    >>> clock_time(3723.4)
    '1:02:03'
    """
    return str(timedelta(seconds=int(seconds)))


def time_left(seconds: float | None) -> str:
    """Return a time left in words, rounded.

    Examples
    --------
    >>> [time_left(seconds) for seconds in (None, 0, 1, 8, 93)]
    ['time left unknown', '0 s left', '5 s left', '10 s left', '2 min left']
    >>> [time_left(seconds) for seconds in (1500, 8000, 300000)]
    ['25 min left', '2 h 15 min left', '83 h left']
    """
    if seconds is None:
        return "time left unknown"
    if seconds < 58:
        return f"{5 * math.ceil(seconds / 5)} s left"
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"{minutes} min left"
    hours, minutes = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {minutes:02} min left" if hours < 10 else f"{round(seconds / 3600)} h left"


def rate(per_minute: float | None) -> str:
    """Return a number of stimuli per minute in words; empty for None.

    Examples
    --------
    >>> [rate(value) for value in (None, 0.0321, 2.44, 181.2)]
    ['', '0.032 stimuli/min', '2.4 stimuli/min', '181 stimuli/min']
    """
    if per_minute is None:
        return ""
    return f"{per_minute:.0f} stimuli/min" if per_minute >= 10 else f"{per_minute:.2g} stimuli/min"


def percent(share: float) -> str:
    """Return a share in percent; 100 % only when all is done.

    Examples
    --------
    >>> percent(0.999), percent(1)
    ('99 %', '100 %')
    """
    return f"{int(100 * share):d} %"


def summary(state: RunState) -> str:
    """Return the line that is written where no bar can be shown."""
    failed = f"{state.failed} failed" if state.failed else ""
    stimuli = f"{state.finished}/{state.stimuli} stimuli"
    parts = (f"{percent(state.share)} done", stimuli, failed, time_left(state.left_s), rate(state.per_minute))
    return ", ".join(filter(None, parts))


def descent(batch: BatchState) -> str:
    """Return the stage, evaluation and loss of a synthesis in words; empty before its first evaluation."""
    if not batch.stages:
        return ""
    parts = [
        f"stage {batch.stage}/{batch.stages} at {batch.size_px} px",
        f"evaluation {batch.number}/{batch.most}",
    ]
    if batch.loss is not None and batch.distance is not None:
        parts += [f"loss {batch.loss:.3g}", f"relative distance {batch.distance:.3g}"]
    return ", ".join(parts)
