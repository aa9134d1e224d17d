"""How much of a run is done, and how long the rest takes, where several batches are made at the same time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stimgen.runs.batches import Batch
from stimgen.runs.pace import kind


@dataclass
class _Sent:
    batch: Batch
    share: float | None = None  # of its work that is done; None before a worker began
    since: float = 0.0


@dataclass
class JointPace:
    """What workers have done and are at, and how fast one of them is.

    Synthesis is counted by its work, as in `stimgen.runs.pace.Pace`; what is none, by its time per batch of a
    kind.

    Attributes
    ----------
    costs
        Work of all batches.
    clock
        Returns seconds.
    """

    costs: Mapping[Batch, float]
    clock: Callable[[], float]
    _done: float = 0.0
    _left: Counter[str] = field(default_factory=Counter)  # batches without synthesis, by kind
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _landed: set[int] = field(default_factory=set)
    _work: float = 0.0  # finished, and the seconds that it took
    _work_s: float = 0.0
    _beside: dict[str, tuple[float, int]] = field(default_factory=dict)
    # Workers' words come in a thread of the connection.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left.update(kind(batch) for batch, cost in self.costs.items() if not cost)

    @property
    def total(self) -> float:
        """Work of all batches."""
        return sum(self.costs.values())

    def sent(self, number: int, batch: Batch) -> None:
        """Count a batch as on its way."""
        with self._lock:
            self._sent[number] = _Sent(batch)

    def told(self, number: int, share: float) -> None:
        """Take how much of a batch a worker has done; 0 when it begins."""
        with self._lock:
            sent = self._sent.get(number)
            if sent is None:  # it has landed before its last word
                return
            if sent.share is None or share < sent.share:
                sent.since = self.clock()
            sent.share = share

    def landed(self, number: int, batch: Batch, seconds: float | None) -> None:
        """Count a batch as finished; `seconds` is what it took a worker, None if it could not be made."""
        with self._lock:
            self._sent.pop(number, None)
            if number in self._landed:
                return
            self._landed.add(number)
            cost = self.costs[batch]
            self._done += cost
            if not cost:
                self._left[kind(batch)] -= 1
            if seconds is not None and cost:
                self._work, self._work_s = self._work + cost, self._work_s + seconds
            elif seconds is not None:
                before, count = self._beside.get(kind(batch), (0.0, 0))
                self._beside[kind(batch)] = before + seconds, count + 1

    @property
    def busy(self) -> int:
        """Workers that are at a batch."""
        with self._lock:
            return sum(sent.share is not None for sent in self._sent.values())

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1."""
        with self._lock:
            under_way = sum(self.costs[sent.batch] * (sent.share or 0.0) for sent in self._sent.values())
        return min((self._done + under_way) / self.total, 1.0) if self.total else 0.0

    def expected_s(self, batch: Batch) -> float | None:
        """Return how long a worker takes for a batch by what was measured; None before."""
        if self.costs[batch]:
            return self.costs[batch] * self._work_s / self._work if self._work else None
        seconds, count = self._beside.get(kind(batch), (0.0, 0))
        return seconds / count if count else None

    def seconds_left(self) -> float | None:
        """Return how long the rest takes with as many workers as are at work; None if that is not known."""
        with self._lock:
            work, seconds, now = self._work, self._work_s, self.clock()
            under_way, busy = 0.0, 0
            for sent in self._sent.values():
                if sent.share is None:
                    continue
                busy += 1
                if sent.share:
                    part = sent.share * self.costs[sent.batch]
                    under_way += part
                    work, seconds = work + part, seconds + now - sent.since
        left = self.total - self._done - under_way
        if not busy or (left > 1e-9 * self.total and not work):
            return None
        beside = sum(
            count * self._beside[name][0] / self._beside[name][1]
            for name, count in self._left.items()
            if name in self._beside
        )
        synthesis = left * seconds / work if work else 0.0
        return (synthesis + beside) / busy
