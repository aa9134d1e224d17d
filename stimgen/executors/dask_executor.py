"""Makes the batches of a run on Dask workers."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stimgen.errors import InputError, StimgenError
from stimgen.executors.clusters import check_installed, connected
from stimgen.executors.site import ExecutorSpec, parse_devices
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
"""How long a file of a worker may take to be seen here, over a network file system, in seconds."""


class DaskExecutor:
    """Sends the batches of the run in `folder` to workers, and reads the records that they wrote."""

    def __init__(self, spec: ExecutorSpec, folder: Path) -> None:
        check_installed(spec)
        self._spec = spec
        self._folder = folder.absolute()
        self._local = parse_devices(spec.devices) if spec.devices is not None else ()
        for worker in self._local:
            if worker.device != "cpu":
                _check_gpu(worker.name.replace("-", ":"))
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
        from distributed import KilledWorker

        from stimgen.executors.dispatcher import LOOK_EVERY_S, Workers
        from stimgen.executors.worker import measure_batch_size

        client = self._connect(len(plan(prepared.manifest)))
        workers = Workers(self._spec, client, self._folder)
        future = client.submit(measure_batch_size, prepared.manifest, self._worker_device, pure=False)
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
        from stimgen.executors import worker
        from stimgen.executors.dispatcher import Dispatcher

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
            for result in dispatcher.results():
                yield self._take_over(job, result)
        finally:
            under_way = [(batch, future) for _, batch, future in dispatcher.under_way.values()]
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.unsubscribe_topic(topic)
                client.unregister_worker_plugin(topic)
                client.cancel([future for _, future in under_way], force=True)
            # Their machines are not needed while tables are written.
            self._disconnect()
            for batch, _ in under_way:
                dispatcher.take_finished(batch)
            with contextlib.suppress(OSError):  # the next run removes it
                job.folder.remove_leftovers()  # of workers that were killed

    def _connect(self, wanted: int) -> Client:
        if self._client is None:
            self._client = self._stack.enter_context(connected(self._spec, self._folder, self._local, wanted))
        return self._client

    def _disconnect(self) -> None:
        self._stack.close()
        self._client = None

    def _take_over(self, job: Job, result: BatchReport | list[Failure]) -> list[Failure]:
        """Read the records of what a worker made, and show it."""
        failures = result if isinstance(result, list) else list(result.failures)
        if not isinstance(result, list):
            self._devices[result.device] = None
            self.device_name = ", ".join(self._devices)
            for note in result.notes:
                job.progress.note(f"{result.worker}: {note}")
            for stimulus_id in result.made:
                if stimulus_id not in job.done:
                    record = _written(job.folder, stimulus_id, job.hashes[stimulus_id], result.worker)
                    job.done[stimulus_id] = Done.of(record)
                    job.progress.stimulus(record)
        for failure in failures:
            job.progress.failure(failure)
        return failures


def _check_gpu(name: str) -> None:
    """Raise InputError if there is no such GPU."""
    try:
        find_device(name)
    except StimgenError as error:
        raise InputError(
            f"--devices {name}: {error.problem}", "Name GPUs that there are, or CPU workers: --devices cpu:2."
        ) from None


def _written(folder: RunFolder, stimulus_id: str, recipe_sha256: str, worker: str) -> Record:
    """Return the record that a worker wrote; a network file system may show it later."""
    until = time.monotonic() + SHARED_FOLDER_S
    while (record := folder.finished(stimulus_id, recipe_sha256)) is None:
        if time.monotonic() > until:
            raise StimgenError(
                f"Worker {worker} has made {stimulus_id}, and it is not in {folder.path}.",
                "The run folder must be on a file system that all machines share, at the same path.",
            )
        time.sleep(0.2)
    return record
