"""What a driver with workers does for each batch and each stimulus, beside the workers' own work.

``python -m benchmarks.driver``

A set is forged that is done already, as in `benchmarks.large`, and its driver is not told so: it sends out
every batch, the one worker finds it done and says so, and the driver reads the records. Batches are put
together to hold several stimuli. The seconds are those of the driver's processor, with the scheduler that it
holds; a line through them gives the seconds per batch and per stimulus.

Then two workers sleep in place of making batches of 16 stimuli that take 0.1 s each, as on a fast GPU. What
this takes longer than their sleep is what distribution costs a run.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from distributed import Worker

from benchmarks.large import forge
from benchmarks.machine import describe_machine
from stimgen.executors import worker as worker_module
from stimgen.executors.dask_executor import DaskExecutor
from stimgen.executors.site import ExecutorSpec
from stimgen.executors.worker import BatchOrder, BatchReport, RunPlugin
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.batches import Batch, plan_batches
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.job import Job
from stimgen.runs.preparation import prepare
from stimgen.runs.progress import Progress
from stimgen.runs.store import RunFolder

SIZES = (1, 4, 16)
SLEEP_S = 0.1
"""For each stimulus."""
WORKERS = 2


class Sleeper(RunPlugin):
    """Sleeps where a worker would make a batch, which is there already."""

    def make(self, worker: Worker, order: BatchOrder) -> BatchReport:
        """Sleep."""
        ids = tuple(stimulus.stimulus_id for stimulus in order.batch.stimuli)
        time.sleep(SLEEP_S * len(ids))
        return BatchReport(ids, (), (), SLEEP_S * len(ids), "none", str(worker.name))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What a driver does for each batch and each stimulus.")
    parser.add_argument("--stimuli", type=int, default=2000, help="how many stimuli")
    parser.add_argument("--asleep", type=int, default=1280, help="how many stimuli workers sleep for")
    options = parser.parse_args(arguments)
    print(describe_machine(torch.device("cpu")))
    print("stimuli  batches  driver, s")
    with tempfile.TemporaryDirectory() as folder:
        found = costs(Path(folder), options.stimuli)
    for stimuli, batches, seconds in found:
        print(f"{stimuli:7d}  {batches:7d}  {seconds:9.2f}")
    each_batch, each_stimulus = line(found)
    print(f"{1000 * each_batch:.1f} ms per batch, {1000 * each_stimulus:.2f} ms per stimulus")
    with tempfile.TemporaryDirectory() as folder:
        asleep, took = slept(Path(folder), options.asleep)
    whole = f"{WORKERS} workers, batches of {max(SIZES) * SLEEP_S:g} s"
    print(f"{whole}: {asleep:.1f} s of sleep each, {took:.2f} s in all, {took / asleep - 1:.2%} overhead")


def costs(folder: Path, stimuli: int) -> list[tuple[int, int, float]]:
    """Return numbers of stimuli and of batches, and the driver's seconds, for each size of batches."""
    with driver(folder, stimuli, workers=1) as send:
        send(max(SIZES))  # starts the worker
        return [send(size)[:3] for size in SIZES]


def slept(folder: Path, stimuli: int) -> tuple[float, float]:
    """Return how long each of two workers is to sleep, and how long the run takes."""
    with (
        unittest.mock.patch.object(worker_module, "RunPlugin", Sleeper),
        driver(folder, stimuli, workers=WORKERS) as send,
    ):
        send(max(SIZES))  # starts the workers
        done, _, _, seconds = send(max(SIZES), alike=WORKERS)
    return SLEEP_S * done / WORKERS, seconds


@contextlib.contextmanager
def driver(
    folder: Path, stimuli: int, workers: int
) -> Iterator[Callable[..., tuple[int, int, float, float]]]:
    """Start a driver of a set that is done, and yield a function that sends out its batches.

    That returns numbers of stimuli and batches, and seconds of processor and clock; with `alike`, it sends
    only batches of the full size, and a multiple of this number.
    """
    path, there = forge(folder, stimuli)
    manifest, run = load_manifest(path), RunFolder(there)
    prepared = prepare(manifest, "cpu")
    recipes = prepared.recipes()

    def send(size: int, alike: int = 0) -> tuple[int, int, float, float]:
        batches = joined(plan_batches(manifest, plan(manifest), 1), size)
        if alike:
            batches = [one for one in batches if len(one.stimuli) == size]
            batches = batches[: len(batches) // alike * alike]
        checkpoints = RunCheckpoints(run.checkpoints, executor.made_with)
        progress = Progress(quiet=True)
        job = Job(prepared, recipes, run, progress, checkpoints, Interrupts(), {})
        began, clock = time.process_time(), time.perf_counter()
        with progress.run(manifest, batches, dict.fromkeys(recipes, "synthesise"), shared=False, reached={}):
            for failures in executor.make(job, batches, progress):
                if failures:
                    raise SystemExit(failures[0].error)
        return len(job.done), len(batches), time.process_time() - began, time.perf_counter() - clock

    with run.locked():
        executor = Lasting(ExecutorSpec(name="dask", devices=f"cpu:{workers}"), run.path)
        try:
            yield send
        finally:
            executor.end()


class Lasting(DaskExecutor):
    """Keeps its workers from one set of batches to the next."""

    def _disconnect(self) -> None:
        pass

    def end(self) -> None:
        """End the workers."""
        super()._disconnect()


def joined(batches: Sequence[Batch], size: int) -> list[Batch]:
    """Return batches of so many stimuli; they need not be of one kind, because none is made."""
    some = [batches[start : start + size] for start in range(0, len(batches), size)]
    return [Batch(tuple(s for one in ones for s in one.stimuli), ones[0].network) for ones in some]


def line(found: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
    """Return the seconds per batch and per stimulus."""
    stimuli, batches, seconds = np.array(found, dtype=float).T
    solved, *_ = np.linalg.lstsq(np.column_stack([batches, stimuli]), seconds, rcond=None)
    return float(solved[0]), float(solved[1])


if __name__ == "__main__":
    main()
