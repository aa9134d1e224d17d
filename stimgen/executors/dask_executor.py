"""Makes the batches of a run on Dask workers, and decides what happens when one does not come back."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distributed import CancelledError, Client, Future, KilledWorker

from stimgen.counting import counted
from stimgen.errors import InputError, StimgenError
from stimgen.executors import worker
from stimgen.executors.clusters import connected
from stimgen.executors.site import ExecutorSpec, parse_devices
from stimgen.executors.worker import MARGIN, BatchOrder, BatchReport, NoTimeLeftError, UnfitError
from stimgen.manifest.check import duration
from stimgen.manifest.plan import plan
from stimgen.networks.device import find_device
from stimgen.runs.batches import Batch
from stimgen.runs.job import Job
from stimgen.runs.lock import read_owner
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.record import Recipe, Record
from stimgen.runs.steps import Done, finished
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure

SHARED_FOLDER_S = 60.0
"""How long a file of a worker may take to be seen here, over a network file system, in seconds."""
LOOK_EVERY_S = 1.0
"""Time between two looks at the workers, in seconds."""
REPORT_S = 30.0
"""How long the report of a finished batch may take to arrive, in seconds."""
UNFIT_IN_A_ROW = 3
"""Number of jobs that may turn out unfit, one after the other, until the run ends."""


class DaskExecutor:
    """Sends the batches of the run in `folder` to workers, and reads the records that they wrote."""

    def __init__(self, spec: ExecutorSpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder.absolute()
        self._local = parse_devices(spec.devices) if spec.devices is not None else ()
        for gpu in (local.name.replace("-", ":") for local in self._local if local.device != "cpu"):
            try:
                find_device(gpu)
            except StimgenError as error:
                raise InputError(
                    f"--devices {gpu}: {error.problem}",
                    "Name GPUs that there are, or CPU workers: --devices cpu:2.",
                ) from None
        self.device = "cpu"  # this process only plans, reads and writes
        self.device_name = "none"
        self.made_with: Mapping[str, str] | None = None  # workers may differ
        self._worker_device = spec.slurm.device if spec.slurm is not None else "auto"
        if self._local:
            self._worker_device = self._local[0].device
        self.shared = self._worker_device != "cpu"
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._devices: dict[str, None] = {}

    def __enter__(self) -> DaskExecutor:
        """Return the executor; workers are started when they are needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers that were started."""
        self._disconnect()

    def batch_size(self, prepared: Preparation) -> int:
        """Return 1 on CPUs; else what fits on the GPU of the first worker that comes."""
        if not self.shared or not prepared.manifest.layer_sets:
            return 1
        client = self._connect(len(plan(prepared.manifest)))
        workers = Workers(self._spec, client, self._folder)
        future = client.submit(worker.measure_batch_size, prepared.manifest, self._worker_device, pure=False)
        while True:
            workers.count()
            try:
                size: int = future.result(timeout=LOOK_EVERY_S)
                return size
            except TimeoutError:
                continue
            except KilledWorker:
                raise StimgenError(
                    "All workers ended while they measured how many textures fit on a card.",
                    f"See their logs in {RunFolder(self._folder).logs}, or give --batch-size.",
                ) from None

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches on as many workers as there are, and yield after each what could not be made of it."""
        client = self._connect(len(batches))
        owner = read_owner(self._folder)
        assert owner is not None, "the runner holds the lock"
        topic = f"stimgen-{uuid.uuid4().hex}"
        order = worker.RunOrder(
            job.prepared.manifest,
            self._folder,
            owner,
            self._worker_device,
            {local.name: local.threads for local in self._local},
            self._spec.slurm.walltime_s if self._spec.slurm is not None else None,
        )
        try:
            client.register_plugin(worker.RunPlugin(order, topic))
        except Exception as error:  # any error of a worker that cannot load it
            raise StimgenError(
                f"A worker cannot load stimgen {order.version}: {type(error).__name__}: {error}.",
                f"Install the same version everywhere; logs are in {job.folder.logs}.",
            ) from error
        client.subscribe_topic(topic, lambda event: progress.reported(*event[1]))
        dispatcher = Dispatcher(self._spec, client, topic, job, progress, deque(enumerate(batches)))
        try:
            for report in dispatcher.results():
                yield self._take_over(job, report)
        finally:
            under_way = [(batch, future) for _, batch, future in dispatcher.under_way.values()]
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.unsubscribe_topic(topic)
                client.unregister_worker_plugin(topic)
                client.cancel([future for _, future in under_way], force=True)
            # Their machines are not needed while tables are written.
            self._disconnect()
            for batch, _ in under_way:
                job.done.update(dispatcher.finished(batch))
            with contextlib.suppress(OSError):  # the next run removes it
                job.folder.remove_leftovers()  # of workers that were killed

    def _connect(self, wanted: int) -> Client:
        if self._client is None:
            self._client = self._stack.enter_context(connected(self._spec, self._folder, self._local, wanted))
        return self._client

    def _disconnect(self) -> None:
        self._stack.close()
        self._client = None

    def _take_over(self, job: Job, report: BatchReport) -> list[Failure]:
        """Read the records of what a worker made, and show it."""
        if report.device:
            self._devices[report.device] = None
            self.device_name = ", ".join(self._devices)
        for note in report.notes:
            job.progress.note(f"{report.worker}: {note}")
        for stimulus_id in report.made:
            if stimulus_id not in job.done:
                record = _written(job.folder, stimulus_id, job.recipes[stimulus_id], report.worker)
                job.done[stimulus_id] = Done.of(record)
                job.progress.stimulus(record)
        for failure in report.failures:
            job.progress.failure(failure)
        return list(report.failures)


def _written(folder: RunFolder, stimulus_id: str, recipe: Recipe, worker: str) -> Record:
    """Return the record that a worker wrote; a network file system may show it later."""
    until = time.monotonic() + SHARED_FOLDER_S
    while (record := finished(folder, stimulus_id, recipe)) is None:
        if time.monotonic() > until:
            raise StimgenError(
                f"Worker {worker} has made {stimulus_id}, and it is not in {folder.path}.",
                "The run folder must be on a file system that all machines share, at the same path.",
            )
        time.sleep(0.2)
    return record


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

    def results(self) -> Iterator[BatchReport]:
        """Yield the report of each batch, in the order in which they end."""
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
            report = self.result(number, batch, future)
            if report is not None:
                self.progress.completed(number, batch, report.seconds)
                yield report

    def _send(self, number: int, batch: Batch) -> None:
        recipes = {s.stimulus_id: self.job.recipes[s.stimulus_id] for s in batch.stimuli}
        order = BatchOrder(number, batch, recipes, self.progress.expected_s(batch))
        key = f"{self.topic}-{number}-{self._sent_again[number]}"
        future = self.client.submit(worker.make_batch, self.topic, order, key=key, pure=False)
        self.under_way[key] = number, batch, future
        self.progress.sent(number, batch)
        future.add_done_callback(lambda ended: self._ended.put(ended.key))

    def result(self, number: int, batch: Batch, future: Future) -> BatchReport | None:
        """Return the report of a batch, of failures if no worker survived it; None if it is sent again."""
        try:
            report: BatchReport = future.result(timeout=REPORT_S)
        except KilledWorker as error:
            made = tuple(self.finished(batch))
            ids = (stimulus.stimulus_id for stimulus in batch.stimuli)
            text = f"{error.allowed_failures + 1} workers ended while they made it."
            cure = f"See their logs in {self.job.folder.logs}; perhaps they have too little memory."
            failures = tuple(Failure(name, text, cure) for name in ids if name not in made)
            return BatchReport(made, failures, notes=(), seconds=None, device="", worker="")
        except NoTimeLeftError as error:
            self._end_short_job(batch, error)
        except UnfitError as error:
            self._end_unfit_job(error)
        except (Exception, CancelledError) as error:
            again = self._sent_again[number]
            # Errors of the distribution, and not of making the batch.
            of_dask = type(error).__module__.split(".")[0] in {"distributed", "dask", "tornado"}
            if not of_dask and not isinstance(error, (TimeoutError, ConnectionError, CancelledError)):
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

    def finished(self, batch: Batch) -> dict[str, Done]:
        """Return what workers wrote of a batch that they did not report."""
        ids = [stimulus.stimulus_id for stimulus in batch.stimuli]
        records = (finished(self.job.folder, name, self.job.recipes[name]) for name in ids)
        return {record.stimulus_id: Done.of(record) for record in records if record is not None}

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
