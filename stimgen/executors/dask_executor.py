"""Makes the batches of a run on Dask workers."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stimgen.errors import InputError, StimgenError
from stimgen.executors.clusters import check_installed, connected, places_of
from stimgen.executors.flight import LOOK_EVERY_S, Flight, Watch, take_what_is_there
from stimgen.executors.site import ExecutorSpec
from stimgen.manifest.plan import plan
from stimgen.networks.device import find_device
from stimgen.runs.batches import Batch
from stimgen.runs.job import Job
from stimgen.runs.lock import read_owner
from stimgen.runs.preparation import Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.record import Record
from stimgen.runs.store import Done, RunFolder
from stimgen.runs.tables import Failure

if TYPE_CHECKING:
    from distributed import Client

    from stimgen.executors.worker import BatchReport

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
                _see_card(place.name.replace("-", ":"))
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._devices: dict[str, None] = {}

    def __enter__(self) -> DaskExecutor:
        """Return the executor; workers are started when they are needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers that were started."""
        self._disconnect()

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
        from distributed import KilledWorker

        from stimgen.executors.tasks import batch_size

        client = self._connect(len(plan(prepared.manifest)))
        watch = Watch(self._spec, client, self._folder)
        future = client.submit(batch_size, prepared.manifest, self.worker_device, pure=False)
        while True:
            watch.look()
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
        try:
            client.register_plugin(RunPlugin(order, topic))
        except Exception as error:  # whatever a worker has that cannot load it
            raise StimgenError(
                f"A worker cannot load stimgen {order.version}: {type(error).__name__}: {error}.",
                f"Install the same version everywhere; logs are in {job.folder.logs}.",
            ) from error
        client.subscribe_topic(topic, lambda event: progress.told(*event[1]))
        flight = Flight(self._spec, client, topic, job, progress, deque(enumerate(batches)))
        try:
            for report, batch in flight.land():
                yield self._take_over(job, batch, report)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.unsubscribe_topic(topic)
                client.unregister_worker_plugin(topic)
            if flight.under_way:
                flight.abandon()
            # Their machines are not needed while tables are written.
            self._disconnect()
            for _, batch, _ in flight.under_way.values():
                take_what_is_there(job, batch)
            with contextlib.suppress(OSError):  # the next run removes it
                job.folder.remove_leftovers()  # of workers that were killed

    def _connect(self, wanted: int) -> Client:
        if self._client is None:
            self._client = self._stack.enter_context(connected(self._spec, self._folder, wanted))
        return self._client

    def _disconnect(self) -> None:
        self._stack.close()
        self._client = None

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


def _see_card(name: str) -> None:
    """Raise if there is no such GPU."""
    try:
        find_device(name)
    except StimgenError as error:
        raise InputError(
            f"--devices {name}: {error.problem}", "Name GPUs that there are, or CPU workers: --devices cpu:2."
        ) from None


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
