"""What runs inside a worker: one batch at a time, made as a run on one machine makes it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import torch
from pydantic import ValidationError

import stimgen
from stimgen.errors import StimgenError
from stimgen.manifest.resolved import Manifest
from stimgen.networks.device import find_device
from stimgen.runs.batch_size import default_batch_size
from stimgen.runs.batches import Batch
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.environment import device_name, rounding
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.job import Job
from stimgen.runs.lock import Owner, read_owner
from stimgen.runs.pace import Pace
from stimgen.runs.preparation import Preparation, prepare
from stimgen.runs.record import Record
from stimgen.runs.store import Done, RunFolder, StoreError
from stimgen.runs.tables import Failure
from stimgen.texture.problem import Evaluation

TELL_EVERY_S = 1.0
"""Shortest time between two words on how far a batch is, in seconds."""

SHARED_FOLDER_S = 20.0
"""How long what the driver wrote may take to be seen here, over a network file system."""

MARGIN = 1.5
"""How many times the expected seconds of a batch must be left of a job before it is begun."""


class SupersededError(StoreError):
    """The run folder is another driver's by now: nothing may be written there for this one."""


class UnfitError(Exception):
    """A worker can make no batch, for a reason that it may share with all others or not.

    Parameters
    ----------
    reason
        Why.
    address
        Of the worker.
    """

    def __init__(self, reason: StimgenError, address: str) -> None:
        super().__init__(reason, address)
        self.reason, self.address = reason, address


class NoTimeLeftError(Exception):
    """The job of this worker ends before the batch would.

    Parameters
    ----------
    left_s, whole_s
        Seconds that are left, and that were left when the worker began.
    address
        Of the worker.
    """

    def __init__(self, left_s: float, whole_s: float, address: str = "") -> None:
        super().__init__(left_s, whole_s, address)
        self.left_s, self.whole_s, self.address = left_s, whole_s, address


@dataclass(frozen=True)
class RunOrder:
    """What all batches of a run have in common; it goes to each worker once.

    Attributes
    ----------
    manifest
        What is made.
    folder
        The run folder, at the same path on every machine.
    owner
        Who works in it, as its lock says.
    device
        What workers compute on.
    threads
        Threads of a worker's arithmetic by the worker's name, where the driver divides them.
    walltime_s
        Longest time of a job, if workers are jobs.
    version
        Version of stimgen, which workers must have too.
    """

    manifest: Manifest
    folder: Path
    owner: Owner
    device: str
    threads: Mapping[str, int] = field(hash=False, default_factory=dict)
    walltime_s: float | None = None
    version: str = stimgen.__version__


@dataclass(frozen=True)
class BatchOrder:
    """One batch.

    Attributes
    ----------
    number
        Its place among the batches of this run.
    batch
        What is made together.
    hashes
        Of the recipes by stimulus id, as the driver computed them.
    done
        Ids of those that are done, and are only computed along.
    expected_s
        About how long it takes; None if that is not known yet.
    """

    number: int
    batch: Batch
    hashes: Mapping[str, str] = field(hash=False)
    done: frozenset[str]
    expected_s: float | None = None


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch; the records are on disk.

    Attributes
    ----------
    made
        Ids of the stimuli that are made.
    failures
        What could not be made.
    notes
        What is to be said to the user.
    seconds
        How long it took; None if all of it was there.
    device
        Name of the device.
    worker
        Name of the worker.
    """

    made: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    seconds: float | None
    device: str
    worker: str


Tell = Callable[[int, float], None]
"""Takes the number of a batch and the share of it that is done."""


class Workbench:
    """What a worker keeps between the batches of a run: sources, weights, networks.

    Parameters
    ----------
    order
        The run.
    name
        Name of this worker.
    """

    def __init__(self, order: RunOrder, name: str) -> None:
        if order.version != stimgen.__version__:
            raise StimgenError(
                f"Worker {name} has stimgen {stimgen.__version__}, not {order.version} as the driver.",
                "Install the same version everywhere.",
            )
        self._order, self._name = order, name
        if name in order.threads:
            torch.set_num_threads(order.threads[name])
        self._folder = RunFolder(order.folder)
        self._where = find_device(order.device)
        self._prepared: Preparation = prepare(order.manifest, str(self._where))
        self._began = time.monotonic()
        self._end = job_end(order.walltime_s)
        self._whole_s = None if self._end is None else self._end - time.time()

    def make(self, order: BatchOrder, tell: Tell) -> BatchReport:
        """Make a batch.

        Raises
        ------
        NoTimeLeftError
            If this worker's job will end before.
        StimgenError
            If this machine sees other sources or weights than the driver, the folder is not there, or it is
            another driver's by now.
        """
        if self._end is not None and self._whole_s is not None and order.expected_s is not None:
            left = self._end - time.time()
            if left < MARGIN * order.expected_s:
                raise NoTimeLeftError(left, self._whole_s)
        folder = self._folder
        self._check_owner(SHARED_FOLDER_S)
        for stimulus in order.batch.stimuli:
            if self._prepared.recipe_sha256(stimulus) != order.hashes[stimulus.stimulus_id]:
                raise StimgenError(
                    f"Worker {self._name} sees another source or other weights for {stimulus.stimulus_id} "
                    "than the machine where the run was started.",
                    "Give all machines the same files: sources on a shared file system, and the same weights "
                    "(stimgen weights list).",
                )
        shared = self._where.type != "cpu"
        listener = _Listener(self._prepared.manifest, order, tell, self._check_owner, shared=shared)
        done: dict[str, Done] = {}
        # A task can come twice, and its first worker may have died after it wrote some of it.
        for stimulus in order.batch.stimuli:
            record = folder.finished(stimulus.stimulus_id, order.hashes[stimulus.stimulus_id])
            if record is not None:
                done[stimulus.stimulus_id] = Done.of(record)
        job = Job(
            self._prepared,
            order.hashes,
            folder,
            listener,
            RunCheckpoints(folder.checkpoints, rounding(self._where)),
            Interrupts(),
            done,
            before_writing=self._check_owner,
        )
        there, started = len(done) == len(order.batch.stimuli), time.monotonic()
        failures = [] if there else job.make(order.batch)
        return BatchReport(
            made=tuple(stimulus_id for stimulus_id in done if stimulus_id not in order.done),
            failures=tuple(failures),
            notes=tuple(listener.notes),
            seconds=None if there else time.monotonic() - started,
            device=device_name(self._where),
            worker=self._name,
        )

    def _check_owner(self, patience_s: float = 0.0) -> None:
        until = time.monotonic() + patience_s
        while (owner := self._owner()) is None and time.monotonic() < until:
            time.sleep(0.2)
        if owner != self._order.owner:
            raise SupersededError(
                f"Worker {self._name} writes nothing more to {self._order.folder}: it is no longer that of "
                f"{self._order.owner}, but of {'nobody' if owner is None else owner}.",
                "If the driver is at work, see that all machines have the folder at this path.",
            )

    def _owner(self) -> Owner | None:
        with contextlib.suppress(ValidationError, OSError):
            return read_owner(self._order.folder)
        return None


def measure_batch_size(manifest: Manifest, device: str) -> int:
    """Return how many textures are best made at once on this worker's device."""
    where = find_device(device)
    return default_batch_size(manifest, prepare(manifest, str(where)).networks, where)


def job_end(walltime_s: float | None) -> float | None:
    """Return when the Slurm job of this process ends, in seconds since 1970; None outside of jobs.

    Slurm says it in SLURM_JOB_END_TIME, older versions by squeue; failing both, the walltime counts from now.
    """
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return None
    said = os.environ.get("SLURM_JOB_END_TIME", "")
    if said.isdecimal():
        return float(said)
    command = ["squeue", "--noheader", "--jobs", number, "--format", "%e"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        if re.match(r"[0-9]{4}-", text):
            return datetime.fromisoformat(text).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError):
        pass
    return None if walltime_s is None else time.time() + walltime_s


class _Listener:
    """Is told what a job does, and tells the driver now and then how much of the batch is done.

    What `check` raises ends the batch: nobody waits for it any more.
    """

    def __init__(
        self, manifest: Manifest, order: BatchOrder, tell: Tell, check: Callable[[], None], *, shared: bool
    ) -> None:
        self.notes: list[str] = []
        self._check = check
        self._number, self._tell, self._told = order.number, tell, time.monotonic()
        synthesised = order.batch.stimuli[0].synthesised
        self._network = "" if synthesised is None else synthesised.network.name
        self._pace = Pace()
        to_make = [s.stimulus_id for s in order.batch.stimuli if s.stimulus_id not in order.done]
        self._pace.begin(manifest, [order.batch], to_make, shared=shared, reached={})
        self._pace.enter(order.batch, time.monotonic())
        tell(order.number, 0.0)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Count it."""
        now = time.monotonic()
        self._pace.evaluated(evaluation, self._network, now)
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            self._check()
            self._tell(self._number, self._pace.batch_share)

    def note(self, text: str) -> None:
        """Keep it for the report."""
        self.notes.append(text)

    def stimulus(self, record: Record) -> None:
        """Do nothing: the driver reads the record."""

    def failure(self, failure: Failure) -> None:
        """Do nothing: the report has it."""
