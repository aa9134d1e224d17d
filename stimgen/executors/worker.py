"""What runs in a worker: one batch at a time, made as a run on one machine makes it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin
from pydantic import ValidationError

import stimgen
from stimgen.errors import StimgenError
from stimgen.manifest.resolved import Manifest
from stimgen.networks.device import find_device
from stimgen.runs.batches import Batch, BatchWork, batch_work
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.environment import device_name, rounding
from stimgen.runs.executor import default_batch_size
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.job import Job
from stimgen.runs.lock import Owner, read_owner
from stimgen.runs.preparation import prepare
from stimgen.runs.record import Recipe, Record
from stimgen.runs.steps import Done, finished
from stimgen.runs.store import RunFolder, StoreError
from stimgen.runs.tables import Failure
from stimgen.texture.problem import Evaluation

if TYPE_CHECKING:
    from distributed import Worker

REPORT_EVERY_S = 1.0
"""Shortest time between two reports on how much of a batch is done, in seconds."""

SHARED_FOLDER_S = 20.0
"""How long the driver's lock may take to be seen here, over a network file system, in seconds."""

MARGIN = 1.5
"""A batch is begun if this many times its expected seconds are left of the worker's job."""


class UnfitError(Exception):
    """The worker at `address` can make no batch of the run, for a reason that others may not have."""

    def __init__(self, reason: StimgenError, address: str) -> None:
        super().__init__(reason, address)
        self.reason, self.address = reason, address


class NoTimeLeftError(Exception):
    """The job of the worker at `address` ends before the batch would. It had `whole_s` when it began."""

    def __init__(self, whole_s: float, address: str) -> None:
        super().__init__(whole_s, address)
        self.whole_s, self.address = whole_s, address


@dataclass(frozen=True)
class RunOrder:
    """What all batches of a run have in common; each worker receives it once."""

    manifest: Manifest
    folder: Path  # the same path on every machine
    owner: Owner  # of the folder, by its lock
    device: str
    threads: Mapping[str, int] = field(hash=False, default_factory=dict)  # by name of the worker
    walltime_s: float | None = None  # of a job
    version: str = stimgen.__version__


@dataclass(frozen=True)
class BatchOrder:
    """One batch with its number."""

    number: int
    batch: Batch
    recipes: Mapping[str, Recipe] = field(hash=False)  # by stimulus id, from the driver
    expected_s: float | None = None


@dataclass(frozen=True)
class BatchReport:
    """The result of a batch; PNG files and records are on disk."""

    made: tuple[str, ...]  # ids of all that is done
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]  # for the user
    seconds: float | None  # None if all of it was done already
    device: str
    worker: str


class WorkerRun:
    """A run in a worker, with the sources and networks that stay loaded between its batches."""

    def __init__(self, order: RunOrder, name: str, address: str = "") -> None:
        if order.version != stimgen.__version__:
            raise StimgenError(
                f"Worker {name} has stimgen {stimgen.__version__}, not {order.version} as the driver.",
                "Install the same version everywhere.",
            )
        self._order, self._name, self._address = order, name, address
        if name in order.threads:
            torch.set_num_threads(order.threads[name])
        self._folder = RunFolder(order.folder)
        self._device = find_device(order.device)
        self._prepared = prepare(order.manifest, str(self._device))
        self._end = job_end(order.walltime_s)
        self._whole_s = self._end - time.time()

    def make(self, order: BatchOrder, report: Callable[[int, float], None]) -> BatchReport:
        """Make a batch, and call `report` now and then with its number and the share that is done."""
        if order.expected_s is not None and self._end - time.time() < MARGIN * order.expected_s:
            raise NoTimeLeftError(self._whole_s, self._address)
        self._check_owner(SHARED_FOLDER_S)
        done: dict[str, Done] = {}
        for stimulus in order.batch.stimuli:
            name, expected = stimulus.stimulus_id, order.recipes[stimulus.stimulus_id]
            if self._prepared.recipe(stimulus) != expected:
                raise StimgenError(
                    f"Worker {self._name} sees another source or other weights for {name} "
                    "than the machine where the run was started.",
                    "Give all machines the same files: sources on a shared file system, and the same weights "
                    "(stimgen weights list).",
                )
            # Another worker may have written some of the batch before it died.
            if (record := finished(self._folder, name, expected)) is not None:
                done[name] = Done.of(record)
        shared = self._device.type != "cpu"
        total = batch_work(self._order.manifest, order.batch, shared=shared, reached={})
        listener = _Listener(order.number, BatchWork(order.batch, total), report, self._check_owner)
        checkpoints = RunCheckpoints(self._folder.checkpoints, rounding(self._device))
        job = Job(
            self._prepared,
            order.recipes,
            self._folder,
            listener,
            checkpoints,
            Interrupts(),
            done,
            before_writing=self._check_owner,
        )
        all_done, started = len(done) == len(order.batch.stimuli), time.monotonic()
        failures = [] if all_done else job.make(order.batch)
        return BatchReport(
            made=tuple(done),
            failures=tuple(failures),
            notes=tuple(listener.notes),
            seconds=None if all_done else time.monotonic() - started,
            device=device_name(self._device),
            worker=self._name,
        )

    def _check_owner(self, patience_s: float = 0.0) -> None:
        until = time.monotonic() + patience_s
        while True:
            owner = None
            with contextlib.suppress(ValidationError, OSError):
                owner = read_owner(self._order.folder)
            if owner is not None or time.monotonic() >= until:
                break
            time.sleep(0.2)
        if owner != self._order.owner:
            raise StoreError(
                f"Worker {self._name} writes nothing more to {self._order.folder}: it is no longer that of "
                f"{self._order.owner}, but of {'nobody' if owner is None else owner}.",
                "If the driver is at work, see that all machines have the folder at this path.",
            )


class _Listener:
    """Receives what a job does, and reports to the driver the share of the batch that is done."""

    def __init__(
        self, number: int, work: BatchWork, report: Callable[[int, float], None], check: Callable[[], None]
    ) -> None:
        self.notes: list[str] = []
        self._number, self._work, self._report, self._check = number, work, report, check
        self._reported = time.monotonic()
        report(number, 0.0)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Count an evaluation."""
        self._work.add(evaluation)
        if time.monotonic() - self._reported >= REPORT_EVERY_S:
            self._reported = time.monotonic()
            self._check()
            self._report(self._number, self._work.share)

    def note(self, text: str) -> None:
        """Keep a line for the report."""
        self.notes.append(text)

    def stimulus(self, record: Record) -> None:
        """Do nothing: the driver reads the record."""

    def failure(self, failure: Failure, error: BaseException | None = None) -> None:
        """Do nothing: the report has it."""


def job_end(walltime_s: float | None) -> float:
    """Return when the Slurm job of this process ends, in seconds since 1970; infinity outside of jobs.

    Slurm before 22.05 does not say it; the walltime then counts from now.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return float("inf")
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) if end.isdecimal() else time.time() + (walltime_s or float("inf"))


class RunPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Brings a run to each worker, also to those that start later; progress is reported under `topic`."""

    def __init__(self, order: RunOrder, topic: str) -> None:
        self.name = topic
        self._order, self._topic = order, topic
        self._run: WorkerRun | None = None
        self._lock: Any = None

    def setup(self, worker: Worker) -> None:
        """Prepare for batches. Sources and weights are loaded with the first, so that errors are reported."""
        self._lock = threading.Lock()

    def make(self, worker: Worker, order: BatchOrder) -> BatchReport:
        """Make a batch."""
        with self._lock:
            try:
                self._run = self._run or WorkerRun(self._order, str(worker.name), worker.address)
                return self._run.make(order, lambda *event: worker.log_event(self._topic, event))
            except StimgenError as error:
                raise UnfitError(error, worker.address) from error


def make_batch(topic: str, order: BatchOrder) -> BatchReport:
    """Make a batch of the run that the plugin `topic` brought."""
    worker = get_worker()
    plugin: RunPlugin = worker.plugins[topic]
    return plugin.make(worker, order)


def measure_batch_size(manifest: Manifest, device: str) -> int:
    """Return how many textures are best made at once on the device of this worker."""
    where = find_device(device)
    return default_batch_size(manifest, prepare(manifest, str(where)).networks, where)


def dask_setup(worker: Worker) -> None:
    """Send the output of a worker on this machine to its log file. Dask calls it when the worker starts."""
    path = os.environ["STIMGEN_WORKER_LOG"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)  # not on Windows
    handle = os.open(path, flags, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    logging.getLogger("distributed").setLevel(logging.INFO)
