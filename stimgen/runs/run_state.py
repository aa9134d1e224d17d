"""The state of a run while it works, and its numbers in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from stimgen.runs.record import Record
from stimgen.runs.tables import Failure


@dataclass(frozen=True)
class BatchState:
    """The batch under way.

    Attributes
    ----------
    name
        Id of its first stimulus, and how many more there are.
    share
        Share of its work that is done, 0 to 1.
    stage, stages, size_px, number, most
        As in `stimgen.texture.problem.Evaluation`; `stages` is 0 before the first evaluation.
    loss
        Lowest loss of the stage so far, of the problem with the largest; None before the first reading.
    distance
        The same for the relative distance, sqrt(loss / loss of zero Gram matrices), in the stage's metric.
    """

    name: str
    share: float = 0.0
    stage: int = 0
    stages: int = 0
    size_px: int = 0
    number: int = 0
    most: int = 0
    loss: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes
    ----------
    share
        Share of the work that is done, 0 to 1; share of the stimuli if none is synthesised.
    finished, failed, stimuli
        Number of stimuli that are made or failed, of those that failed, and of all that this run makes.
    elapsed_s
        Seconds since the first batch began.
    left_s
        Seconds until the run is done; None if that is not known yet.
    per_minute
        Stimuli made per minute; None before the first.
    batch
        The batch under way.
    """

    share: float = 0.0
    finished: int = 0
    failed: int = 0
    stimuli: int = 0
    elapsed_s: float = 0.0
    left_s: float | None = None
    per_minute: float | None = None
    batch: BatchState | None = None


class Watcher(Protocol):
    """Receives the progress of a run as well. An exception in it would end the run."""

    def show(self, state: RunState) -> None:
        """Receive the state of the run, about twice a second."""
        ...

    def stimulus(self, record: Record) -> None:
        """Receive the record of a stimulus that was made."""
        ...

    def failure(self, failure: Failure) -> None:
        """Receive a stimulus that could not be made."""
        ...


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
