"""Makes the batches of a run on Dask workers."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stimgen.errors import StimgenError
from stimgen.executors.clusters import check_installed, connected, places_of
from stimgen.executors.site import ExecutorSpec
from stimgen.manifest.check import duration
from stimgen.manifest.plan import plan
from stimgen.networks.device import find_device
from stimgen.runs.batches import Batch
from stimgen.runs.done import Done
from stimgen.runs.job import Job
from stimgen.runs.lock import read_owner
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure

if TYPE_CHECKING:
    from distributed import Client, Future

    from stimgen.executors.worker import BatchReport

LOOK_EVERY_S = 1.0
SHARED_FOLDER_S = 60.0
"""How long a file that a worker wrote may take to be seen here, over a network file system."""


class DaskExecutor:
    """Sends batches to workers, and takes over what they wrote.

    Parameters
    ----------
    spec
        Where workers come from.
    folder
        The run folder.

    Raises
    ------
    StimgenError
        If packages are missing.
    InputError
        If the devices are none, or not there.
    """

    def __init__(self, spec: ExecutorSpec, folder: Path) -> None:
        check_installed(spec)
        self._spec = spec
        self._folder = folder.absolute()
        self._places = places_of(spec)
        for place in self._places:
            if place.device != "cpu":
                find_device(place.name.replace("-", ":"))
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._devices: dict[str, None] = {}

    def __enter__(self) -> DaskExecutor:
        """Return the executor; workers are started when they are needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers that were started."""
        self._stack.close()
        self._client = None

    @property
    def device(self) -> str:
        """What this process computes on: it only plans, reads and writes."""
        return "cpu"

    @property
    def made_with(self) -> None:
        """Nothing, because workers may differ."""
        return

    @property
    def device_name(self) -> str:
        """The devices on which batches were made."""
        return ", ".join(self._devices) or "none"

    @property
    def shared(self) -> bool:
        """Whether workers have GPUs, as far as is known."""
        return self.worker_device != "cpu"

    @property
    def worker_device(self) -> str:
        """What workers compute on, as they see it."""
        if self._places:
            return self._places[0].device
        return self._spec.slurm.device if self._spec.slurm is not None else "auto"

    def batch_size(self, prepared: Preparation) -> int:
        """Return 1 on CPUs; else what fits on the GPU of the first worker that comes."""
        if self.worker_device == "cpu" or not prepared.manifest.layer_sets:
            return 1
        from stimgen.executors.tasks import batch_size

        client = self._connect(len(plan(prepared.manifest)))
        self._await_worker(client)
        size: int = client.submit(batch_size, prepared.manifest, self.worker_device, pure=False).result()
        return size

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches on as many workers as there are, and yield after each what could not be made of it."""
        from stimgen.executors.tasks import RunPlugin
        from stimgen.executors.worker import RunOrder

        client = self._connect(len(batches))
        owner = read_owner(self._folder)
        assert owner is not None, "the runner holds the lock"
        topic = f"stimgen-{uuid.uuid4().hex}"
        slurm = self._spec.slurm
        order = RunOrder(
            job.prepared.manifest,
            self._folder,
            owner,
            self.worker_device,
            {place.name: place.threads for place in self._places} if self._places else {},
            slurm.walltime_s if slurm is not None else None,
        )
        client.register_plugin(RunPlugin(order, topic))
        client.subscribe_topic(topic, lambda event: progress.told(*event[1]))
        flight = _Flight(self._spec, client, topic, job, progress, deque(enumerate(batches)))
        try:
            for report, batch in flight.land():
                yield self._take_over(job, batch, report)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.unsubscribe_topic(topic)
                client.unregister_worker_plugin(topic)
            if flight.under_way:
                self._give_up(job, flight)
            with contextlib.suppress(OSError):  # the next run removes it
                job.folder.remove_leftovers()  # of workers that were killed

    def _give_up(self, job: Job, flight: _Flight) -> None:
        """End the workers, and take over what they wrote of their batches."""
        flight.abandon()
        self._stack.close()
        self._client = None
        for _, batch, _ in flight.under_way.values():
            _take_what_is_there(job, batch)

    def _connect(self, wanted: int) -> Client:
        if self._client is None:
            self._client = self._stack.enter_context(connected(self._spec, self._folder, wanted))
        return self._client

    def _await_worker(self, client: Client) -> None:
        try:
            client.wait_for_workers(1, timeout=self._spec.patience_s)
        except TimeoutError:
            raise no_worker(self._spec, self._folder, self._spec.patience_s) from None

    def _take_over(self, job: Job, batch: Batch, report: BatchReport | list[Failure]) -> list[Failure]:
        """Read the records of what a worker made, and tell the display."""
        if isinstance(report, list):
            failures = report
        else:
            self._devices[report.device] = None
            for note in report.notes:
                job.progress.note(f"{report.worker}: {note}")
            for stimulus_id in report.made:
                record = _written(job.folder, stimulus_id, job.hashes[stimulus_id], report.worker)
                job.done[stimulus_id] = Done.of(record)
                job.progress.stimulus(record)
            failures = list(report.failures)
        for failure in failures:
            job.progress.failure(failure)
        return failures


@dataclass
class _Flight:
    """The batches on their way to workers and back."""

    spec: ExecutorSpec
    client: Client
    topic: str
    job: Job
    progress: Progress
    waiting: deque[tuple[int, Batch]]
    under_way: dict[str, tuple[int, Batch, Future]] = field(default_factory=dict)
    ended: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    workers: int = 0
    lonely_since: float = field(default_factory=time.monotonic)
    said_at: float = field(default_factory=time.monotonic)

    def land(self) -> Iterator[tuple[BatchReport | list[Failure], Batch]]:
        """Yield what became of each batch, in the order in which they end."""
        looked = -LOOK_EVERY_S
        while self.waiting or self.under_way:
            if time.monotonic() - looked >= LOOK_EVERY_S:
                looked = time.monotonic()
                self._count_workers()
            while self.waiting and len(self.under_way) < 2 * max(self.workers, 1):
                self._submit(*self.waiting.popleft())
            try:
                key = self.ended.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self.progress.waiting()
                continue
            number, batch, future = self.under_way.pop(key)
            outcome = self._outcome(number, batch, future)
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
        key = f"{self.topic}-{number}-{uuid.uuid4().hex[:8]}"
        future = self.client.submit(make_batch, self.topic, order, key=key, pure=False)
        self.under_way[key] = number, batch, future
        self.progress.sent(number, batch)
        future.add_done_callback(lambda one: self.ended.put(one.key))

    def _outcome(self, number: int, batch: Batch, future: Future) -> BatchReport | list[Failure] | None:
        """Return what became of a batch; None if it was sent off again.

        Raises
        ------
        StimgenError
            If no other batch can be made either.
        """
        from distributed import KilledWorker

        from stimgen.executors.worker import MARGIN, NoTimeLeftError

        error: BaseException | None = None
        if future.status == "finished":
            report: BatchReport = future.result()
            return report
        if future.status == "error":
            error = future.exception()
        if isinstance(error, NoTimeLeftError):
            expected = self.progress.expected_s(batch) or 0.0
            if error.whole_s < MARGIN * expected:
                raise StimgenError(
                    f"A batch takes about {duration(expected)}, and a job has {duration(error.whole_s)}: "
                    f"none is begun with less than {MARGIN} times its time.",
                    "Raise walltime in the site file, or make smaller batches with --batch-size.",
                )
            self._retire(error)
        elif isinstance(error, KilledWorker):
            _take_what_is_there(self.job, batch)
            return [
                Failure(
                    stimulus.stimulus_id,
                    f"{self.spec.restarts + 1} workers ended while they made it.",
                    f"See their logs in {self.job.folder.logs}; perhaps they have too little memory.",
                )
                for stimulus in batch.stimuli
                if stimulus.stimulus_id not in self.job.done
            ]
        elif isinstance(error, StimgenError):
            raise error
        elif error is not None and not _is_of_dask(error):
            raise StimgenError(
                f"A worker failed: {type(error).__name__}: {error}.",
                f"Its log is in {self.job.folder.logs}.",
            ) from error
        self.waiting.appendleft((number, batch))
        return None

    def _retire(self, error: Any) -> None:
        """End the workers whose jobs end too soon for any batch, so that new jobs come."""
        with contextlib.suppress(Exception):
            self.client.retire_workers([error.address], close_workers=True)

    def _count_workers(self) -> None:
        now = time.monotonic()
        try:
            self.workers = len(self.client.nthreads())
        except (OSError, TimeoutError) as error:
            raise StimgenError(
                f"The connection to the scheduler is lost: {error}.",
                "What was finished is kept. See that the scheduler runs; the same command goes on.",
            ) from error
        if self.workers:
            self.lonely_since = self.said_at = now
            return
        if now - self.lonely_since > self.spec.patience_s:
            raise no_worker(self.spec, self.job.folder.path, now - self.lonely_since)
        if now - self.said_at >= 60:
            self.said_at = now
            self.progress.note(
                f"No worker for {duration(now - self.lonely_since)}; waiting up to "
                f"{duration(self.spec.patience_s)}."
            )


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


def _written(folder: RunFolder, stimulus_id: str, recipe_sha256: str, worker: str) -> Record:
    """Return the record that a worker wrote; a network file system may show it later.

    Raises
    ------
    StimgenError
        If it does not come.
    """
    until = time.monotonic() + SHARED_FOLDER_S
    while True:
        record = folder.finished(stimulus_id, recipe_sha256)
        if record is not None:
            return record
        if time.monotonic() > until:
            raise StimgenError(
                f"Worker {worker} has made {stimulus_id}, and it is not in {folder.path}.",
                "The run folder must be on a file system that all machines share, at the same path.",
            )
        time.sleep(0.2)


def _take_what_is_there(job: Job, batch: Batch) -> None:
    """Take over what a worker wrote of a batch that it did not finish."""
    for stimulus_id in (stimulus.stimulus_id for stimulus in batch.stimuli):
        record = job.folder.finished(stimulus_id, job.hashes[stimulus_id])
        if record is not None and stimulus_id not in job.done:
            job.done[stimulus_id] = Done.of(record)


def _is_of_dask(error: BaseException) -> bool:
    """Return whether an error is one of the distribution itself, after which a batch can be sent again."""
    return type(error).__module__.split(".")[0] in {"distributed", "dask", "tornado"} or isinstance(
        error, (TimeoutError, ConnectionError)
    )
