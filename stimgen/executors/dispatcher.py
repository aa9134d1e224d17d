"""Sends the batches of a run to workers, and decides what happens when one does not come back."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from distributed import CancelledError, Client, Future, KilledWorker

from stimgen.counting import counted
from stimgen.errors import StimgenError
from stimgen.executors.site import ExecutorSpec
from stimgen.executors.worker import (
    MARGIN,
    BatchOrder,
    BatchReport,
    NoTimeLeftError,
    UnfitError,
    make_batch,
)
from stimgen.manifest.check import duration
from stimgen.runs.batches import Batch
from stimgen.runs.job import Job
from stimgen.runs.progress import Progress
from stimgen.runs.store import Done, RunFolder
from stimgen.runs.tables import Failure

LOOK_EVERY_S = 1.0
"""Time between two looks at the workers, in seconds."""
REPORT_S = 30.0
"""How long the report of a finished batch may take to arrive, in seconds."""
UNFIT_IN_A_ROW = 3
"""Number of jobs that may turn out unfit, one after the other, until the run ends."""


class Workers:
    """The workers that are connected; a run without any ends after a while. `note` writes for the user."""

    def __init__(
        self,
        spec: ExecutorSpec,
        client: Client,
        folder: Path,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._spec, self._client, self._note = spec, client, note
        self._logs = RunFolder(folder).logs
        self._addresses: frozenset[str] = frozenset()
        self._looked = -LOOK_EVERY_S
        self._none_since = self._noted = time.monotonic()

    def count(self) -> int:
        """Return the number of workers; raise if there was none for too long, or the scheduler is gone."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return len(self._addresses)
        self._looked, before = now, self._addresses
        try:
            self._addresses = frozenset(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise StimgenError(
                f"The connection to the scheduler is lost: {error}.",
                "What was finished is kept. See that the scheduler runs; the same command goes on.",
            ) from error
        if gone := len(before - self._addresses):
            self._note(
                f"{counted(gone, 'worker', 'workers')} ended, and what was under way there is made again. "
                f"Logs are in {self._logs}."
            )
        if self._addresses or before:  # the last one may have ended just now
            self._none_since = self._noted = now
        waited, patience = now - self._none_since, self._spec.patience_s
        if waited > patience:
            where = {
                "slurm": "squeue --me says whether jobs wait, and for what",
                "scheduler": "see that workers are connected to the scheduler",
                "local": "the workers could not be started",
            }[self._spec.kind]
            raise StimgenError(
                f"There was no worker for {duration(waited)}.",
                f"Logs are in {self._logs}; {where}. A run waits for wait_s of the site file; "
                "the same command goes on.",
            )
        if now - self._noted >= 60:
            self._noted = now
            self._note(f"No worker for {duration(waited)}; waiting up to {duration(patience)}.")
        return len(self._addresses)


@dataclass
class Dispatcher:
    """Sends batches to workers, at most two per worker at a time."""

    spec: ExecutorSpec
    client: Client
    topic: str  # name of the run among tasks and events
    job: Job
    progress: Progress
    waiting: deque[tuple[int, Batch]]  # with their numbers
    under_way: dict[str, tuple[int, Batch, Future]] = field(default_factory=dict)  # by key of the task
    _ended: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _sent_again: Counter[int] = field(default_factory=Counter)
    _unfit: set[str] = field(default_factory=set)
    _unfit_in_a_row: int = 0

    def results(self) -> Iterator[BatchReport | list[Failure]]:
        """Yield the report of each batch, in the order in which they end; failures if no worker survived."""
        workers = Workers(self.spec, self.client, self.job.folder.path, self.progress.note)
        while self.waiting or self.under_way:
            count = workers.count()
            while self.waiting and len(self.under_way) < 2 * max(count, 1):
                self._send(*self.waiting.popleft())
            try:
                key = self._ended.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self.progress.waiting()
                continue
            number, batch, future = self.under_way.pop(key)
            result = self.result(number, batch, future)
            if result is not None:
                seconds = None if isinstance(result, list) else result.seconds
                self.progress.completed(number, batch, seconds)
                yield result

    def _send(self, number: int, batch: Batch) -> None:
        hashes = {s.stimulus_id: self.job.hashes[s.stimulus_id] for s in batch.stimuli}
        order = BatchOrder(number, batch, hashes, self.progress.expected_s(batch))
        key = f"{self.topic}-{number}-{self._sent_again[number]}"
        future = self.client.submit(make_batch, self.topic, order, key=key, pure=False)
        self.under_way[key] = number, batch, future
        self.progress.sent(number, batch)
        future.add_done_callback(lambda ended: self._ended.put(ended.key))

    def result(self, number: int, batch: Batch, future: Future) -> BatchReport | list[Failure] | None:
        """Return the report of a batch, or failures if no worker survived it; None if it is sent again."""
        try:
            report: BatchReport = future.result(timeout=REPORT_S)
        except KilledWorker as error:
            return self._failures(batch, error.allowed_failures + 1)
        except NoTimeLeftError as error:
            self._end_short_job(batch, error)
        except UnfitError as error:
            self._end_unfit_job(error)
        except (Exception, CancelledError) as error:
            again = self._sent_again[number]
            if not _is_of_connection(error):
                raise StimgenError(
                    f"A worker failed: {type(error).__name__}: {error}.",
                    f"Its log is in {self.job.folder.logs}.",
                ) from error
            if again >= self.spec.restarts:
                raise StimgenError(
                    f"A batch was sent to workers {again + 1} times, and nothing came back: "
                    f"{type(error).__name__}: {error}.",
                    f"See that machines and network are well; logs are in {self.job.folder.logs}. "
                    "The same command goes on.",
                ) from error
        else:
            self._unfit_in_a_row = 0
            return report
        self._sent_again[number] += 1
        self.waiting.appendleft((number, batch))
        return None

    def take_finished(self, batch: Batch) -> None:
        """Take over what workers wrote of a batch that they did not report."""
        for stimulus_id in (stimulus.stimulus_id for stimulus in batch.stimuli):
            record = self.job.folder.finished(stimulus_id, self.job.hashes[stimulus_id])
            if record is not None and stimulus_id not in self.job.done:
                self.job.done[stimulus_id] = Done.of(record)

    def _failures(self, batch: Batch, workers: int) -> list[Failure]:
        self.take_finished(batch)
        return [
            Failure(
                stimulus.stimulus_id,
                f"{workers} workers ended while they made it.",
                f"See their logs in {self.job.folder.logs}; perhaps they have too little memory.",
            )
            for stimulus in batch.stimuli
            if stimulus.stimulus_id not in self.job.done
        ]

    def _end_short_job(self, batch: Batch, error: NoTimeLeftError) -> None:
        """End a job without time for a batch, so that another starts, unless all jobs are too short."""
        expected = self.progress.expected_s(batch) or 0.0
        # Workers of a cluster that stimgen did not start may have begun long before.
        if self.spec.kind == "slurm" and error.whole_s < MARGIN * expected:
            raise StimgenError(
                f"A batch takes about {duration(expected)}, and a job has {duration(error.whole_s)}: "
                f"none is begun with less than {MARGIN} times its time.",
                "Raise walltime in the site file, or make smaller batches with --batch-size.",
            )
        self._retire(error.address)

    def _end_unfit_job(self, error: UnfitError) -> None:
        """End a job on a machine where no batch can be made, so that another starts; or end the run."""
        is_new = error.address not in self._unfit  # a worker has two batches
        self._unfit.add(error.address)
        self._unfit_in_a_row += is_new
        too_many = self._unfit_in_a_row >= UNFIT_IN_A_ROW or len(self._unfit) > self.spec.restarts
        if self.spec.kind != "slurm" or too_many:
            raise error.reason
        if is_new:
            self.progress.note(f"A job is ended, and its batch sent to another: {error.reason.problem}")
            self._retire(error.address)

    def _retire(self, address: str) -> None:
        with contextlib.suppress(Exception):  # it may have ended already
            self.client.retire_workers([address], close_workers=True)


def _is_of_connection(error: BaseException) -> bool:
    """Return whether an error comes from the distribution, and not from making the batch."""
    return type(error).__module__.split(".")[0] in {"distributed", "dask", "tornado"} or isinstance(
        error, (TimeoutError, ConnectionError, CancelledError)
    )
