"""Where a run stands at a moment, for whatever shows it; and how that is put into words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from stimgen.runs.record import Record
from stimgen.runs.tables import Failure


@dataclass(frozen=True)
class BatchStanding:
    """Where the batch under way stands.

    Attributes
    ----------
    name
        Id of its first stimulus, and how many more there are.
    share
        Share of its work that is done, 0 to 1.
    stage, stages, size_px, number, most
        As in `stimgen.texture.problem.Evaluation`; `stages` is 0 before the first evaluation.
    loss
        Lowest loss of the stage so far, of the problem where it is largest; None if nothing is known.
    distance
        The same of the relative distance, sqrt(loss / loss of zero Gram matrices), in the stage's metric.
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
class Standing:
    """Where a run stands.

    Attributes
    ----------
    share
        Share of the work that is done, 0 to 1; of the stimuli, if none is synthesised.
    finished, failed, stimuli
        Stimuli that are made or failed, those that failed, and all that this run is to make.
    elapsed_s
        Seconds since the first batch began.
    left_s
        Seconds that the rest takes; None if that is not known yet.
    per_minute
        Stimuli made per minute; None before the first.
    batch
        The batch under way.
    """

    share: float
    finished: int
    failed: int
    stimuli: int
    elapsed_s: float
    left_s: float | None
    per_minute: float | None
    batch: BatchStanding | None


class Watcher(Protocol):
    """Who is told of a run while it works. What it raises would end the run."""

    def show(self, standing: Standing) -> None:
        """Take where the run stands, about twice a second."""
        ...

    def stimulus(self, record: Record) -> None:
        """Take a stimulus that is made."""
        ...

    def failure(self, failure: Failure) -> None:
        """Take a stimulus that could not be made."""
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
    """Return about how long something takes still.

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
    """Return how many stimuli are made per minute.

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


def summary(standing: Standing) -> str:
    """Return the line that is written where no bar can be shown."""
    failed = f"{standing.failed} failed" if standing.failed else ""
    done = f"{percent(standing.share)} done"
    stimuli = f"{standing.finished}/{standing.stimuli} stimuli"
    parts = (done, stimuli, failed, time_left(standing.left_s), rate(standing.per_minute))
    return ", ".join(part for part in parts if part)


def descent(batch: BatchStanding) -> str:
    """Return how far the synthesis of a batch has come; empty before its first evaluation."""
    if not batch.stages:
        return ""
    parts = [
        f"stage {batch.stage}/{batch.stages} at {batch.size_px} px",
        f"evaluation {batch.number}/{batch.most}",
    ]
    if batch.loss is not None and batch.distance is not None:
        parts += [f"loss {batch.loss:.3g}", f"relative distance {batch.distance:.3g}"]
    return ", ".join(parts)
