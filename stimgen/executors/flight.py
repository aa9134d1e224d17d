"""The batches of a run on their way to workers and back, whatever becomes of the workers."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stimgen.counting import counted
from stimgen.errors import StimgenError
from stimgen.executors.site import ExecutorSpec
from stimgen.manifest.check import duration
from stimgen.runs.batches import Batch
from stimgen.runs.job import Job
from stimgen.runs.progress import Progress
from stimgen.runs.store import Done, RunFolder
from stimgen.runs.tables import Failure

if TYPE_CHECKING:
    from distributed import Client, Future

    from stimgen.executors.worker import BatchReport

LOOK_EVERY_S = 1.0
REPORT_S = 30.0
"""How long a report that a worker has may take to come."""
UNFIT_IN_A_ROW = 3
"""How many jobs may turn out unfit, one after the other, until it is not for the machine that they are."""


class Watch:
    """Counts workers, and ends a run that has none for too long.

    Parameters
    ----------
    spec
        How long it waits.
    client
        The connection.
    folder
        The run folder.
    note
        Is told that there is none.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        client: Client,
        folder: Path,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._workers: frozenset[str] = frozenset()
        self._spec, self._client, self._folder, self._note = spec, client, folder, note
        self._looked = -LOOK_EVERY_S
        self._lonely_since = self._said_at = time.monotonic()

    @property
    def workers(self) -> int:
        """How many there were at the last look."""
        return len(self._workers)

    def look(self) -> None:
        """Count workers, at most every `LOOK_EVERY_S`.

        Raises
        ------
        StimgenError
            If there was none for too long, or the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        before = self._workers
        try:
            self._workers = frozenset(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise StimgenError(
                f"The connection to the scheduler is lost: {error}.",
                "What was finished is kept. See that the scheduler runs; the same command goes on.",
            ) from error
        if gone := len(before - self._workers):
            self._note(
                f"{counted(gone, 'worker', 'workers')} ended, and what was under way there is made again. "
                f"Logs are in {RunFolder(self._folder).logs}."
            )
        if self._workers or before:  # nobody knows when the last one went since the last look
            self._lonely_since = self._said_at = now
            return
        patience = self._spec.patience_s
        if now - self._lonely_since > patience:
            raise no_worker(self._spec, self._folder, now - self._lonely_since)
        if now - self._said_at >= 60:
            self._said_at = now
            self._note(
                f"No worker for {duration(now - self._lonely_since)}; waiting up to {duration(patience)}."
            )


@dataclass
class Flight:
    """Batches on their way.

    Attributes
    ----------
    spec, client, topic
        Where workers come from, the connection, and what this run is called there.
    job, progress
        The run, and who is told how far it is.
    waiting
        Batches that are to be sent, with their numbers.
    under_way
        Batches that were sent, by the keys of their tasks.
    """

    spec: ExecutorSpec
    client: Client
    topic: str
    job: Job
    progress: Progress
    waiting: deque[tuple[int, Batch]]
    under_way: dict[str, tuple[int, Batch, Future]] = field(default_factory=dict)
    _ended: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _sent_again: Counter[int] = field(default_factory=Counter)
    _unfit: set[str] = field(default_factory=set)
    _unfit_in_a_row: set[str] = field(default_factory=set)

    def land(self) -> Iterator[tuple[BatchReport | list[Failure], Batch]]:
        """Yield what became of each batch, in the order in which they end.

        Raises
        ------
        StimgenError
            If no batch can be made any more.
        """
        watch = Watch(self.spec, self.client, self.job.folder.path, self.progress.note)
        while self.waiting or self.under_way:
            watch.look()
            while self.waiting and len(self.under_way) < 2 * max(watch.workers, 1):
                self._submit(*self.waiting.popleft())
            try:
                key = self._ended.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self.progress.waiting()
                continue
            number, batch, future = self.under_way.pop(key)
            outcome = self.outcome(number, batch, future)
            if outcome is not None:
                seconds = None if isinstance(outcome, list) else outcome.seconds
                self.progress.landed(number, batch, seconds)
                yield outcome, batch

    def abandon(self) -> None:
        """Give up what is under way."""
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self.client.cancel([future for _, _, future in self.under_way.values()], force=True)

    def _submit(self, number: int, batch: Batch) -> None:
        from stimgen.executors.tasks import make_batch
        from stimgen.executors.worker import BatchOrder

        ids = [stimulus.stimulus_id for stimulus in batch.stimuli]
        order = BatchOrder(
            number,
            batch,
            {one: self.job.hashes[one] for one in ids},
            frozenset(one for one in ids if one in self.job.done),
            self.progress.expected_s(batch),
        )
        key = f"{self.topic}-{number}-{self._sent_again[number]}"
        future = self.client.submit(make_batch, self.topic, order, key=key, pure=False)
        self.under_way[key] = number, batch, future
        self.progress.sent(number, batch)
        future.add_done_callback(lambda one: self._ended.put(one.key))

    def outcome(self, number: int, batch: Batch, future: Future) -> BatchReport | list[Failure] | None:
        """Return what became of a batch; None if it is to be sent again.

        Raises
        ------
        StimgenError
            If no other batch can be made either.
        """
        from distributed import CancelledError, KilledWorker

        from stimgen.executors.worker import NoTimeLeftError, UnfitError

        error: BaseException | None = None
        try:
            if future.status == "finished":
                # A worker that died just now has it no more; another will find the batch made.
                report: BatchReport = future.result(timeout=REPORT_S)
                self._unfit_in_a_row.clear()
                return report
            if future.status == "error":
                error = future.exception()
        except (Exception, CancelledError) as raised:
            error = raised
        if isinstance(error, KilledWorker):
            return self._killers(batch, error.allowed_failures + 1)
        if isinstance(error, NoTimeLeftError):
            self._without_time(batch, error)
        elif isinstance(error, UnfitError):
            self._refused(error)
        elif error is not None and not _is_of_dask(error):
            raise StimgenError(
                f"A worker failed: {type(error).__name__}: {error}.",
                f"Its log is in {self.job.folder.logs}.",
            ) from error
        elif error is not None and self._sent_again[number] >= self.spec.restarts:
            raise StimgenError(
                f"A batch was sent to workers {self._sent_again[number] + 1} times, and nothing came back: "
                f"{type(error).__name__}: {error}.",
                f"See that machines and network are well; logs are in {self.job.folder.logs}. "
                "The same command goes on.",
            ) from error
        self._sent_again[number] += 1
        self.waiting.appendleft((number, batch))
        return None

    def _killers(self, batch: Batch, workers: int) -> list[Failure]:
        """Return as failures what of a batch no worker survived."""
        take_what_is_there(self.job, batch)
        return [
            Failure(
                stimulus.stimulus_id,
                f"{workers} workers ended while they made it.",
                f"See their logs in {self.job.folder.logs}; perhaps they have too little memory.",
            )
            for stimulus in batch.stimuli
            if stimulus.stimulus_id not in self.job.done
        ]

    def _without_time(self, batch: Batch, error: Any) -> None:
        """End a worker whose job ends too soon for a batch, unless any other's would too."""
        from stimgen.executors.worker import MARGIN

        expected = self.progress.expected_s(batch) or 0.0
        # The jobs of a cluster that is there may have begun long before.
        if self.spec.kind == "slurm" and error.whole_s < MARGIN * expected:
            raise StimgenError(
                f"A batch takes about {duration(expected)}, and a job has {duration(error.whole_s)}: "
                f"none is begun with less than {MARGIN} times its time.",
                "Raise walltime in the site file, or make smaller batches with --batch-size.",
            )
        self._retire(error.address)

    def _refused(self, error: Any) -> None:
        """End a job on a machine where no batch can be made, unless there is none where they can.

        Raises
        ------
        StimgenError
            What the worker has against it.
        """
        is_new = error.address not in self._unfit  # a worker has two batches
        self._unfit.add(error.address)
        self._unfit_in_a_row.add(error.address)
        if (
            self.spec.kind != "slurm"
            or len(self._unfit_in_a_row) >= UNFIT_IN_A_ROW
            or len(self._unfit) > self.spec.restarts
        ):
            raise error.reason
        if is_new:
            self.progress.note(f"A job is ended, and its batch sent to another: {error.reason.problem}")
            self._retire(error.address)

    def _retire(self, address: str) -> None:
        """End a worker, so that a new job comes."""
        with contextlib.suppress(Exception):
            self.client.retire_workers([address], close_workers=True)


def no_worker(spec: ExecutorSpec, folder: Path, seconds: float) -> StimgenError:
    """Return the error that there was no worker for so long."""
    where = {
        "slurm": "squeue --me says whether jobs wait, and for what",
        "scheduler": "see that workers are connected to the scheduler",
        "local": "the workers could not be started",
    }[spec.kind]
    return StimgenError(
        f"There was no worker for {duration(seconds)}.",
        f"Logs are in {RunFolder(folder).logs}; {where}. A run waits for wait_s of the site file; "
        "the same command goes on.",
    )


def take_what_is_there(job: Job, batch: Batch) -> None:
    """Take over what a worker wrote of a batch that it did not finish."""
    for stimulus_id in (stimulus.stimulus_id for stimulus in batch.stimuli):
        record = job.folder.finished(stimulus_id, job.hashes[stimulus_id])
        if record is not None and stimulus_id not in job.done:
            job.done[stimulus_id] = Done.of(record)


def _is_of_dask(error: BaseException) -> bool:
    """Return whether an error is one of the distribution itself, after which a batch can be sent again."""
    from distributed import CancelledError

    return type(error).__module__.split(".")[0] in {"distributed", "dask", "tornado"} or isinstance(
        error, (TimeoutError, ConnectionError, CancelledError)
    )
