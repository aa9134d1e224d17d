"""What a driver with workers does for each batch and each stimulus, beside the workers' own work.

``python -m benchmarks.driver``

A set is forged that is done already, as in `benchmarks.large`, and its driver is not told so: it sends out
every batch, the one worker finds it done and says so, and the driver reads the records. Batches are put
together to hold several stimuli. The seconds are those of the driver's processor, with the scheduler that it
holds; a line through them gives the seconds per batch and per stimulus.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.large import forge
from benchmarks.machine import describe_machine
from stimgen.executors.dask_executor import DaskExecutor
from stimgen.executors.site import ExecutorSpec
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What a driver does for each batch and each stimulus.")
    parser.add_argument("--stimuli", type=int, default=2000, help="how many stimuli")
    options = parser.parse_args(arguments)
    print(describe_machine(torch.device("cpu")))
    print("stimuli  batches  driver, s")
    with tempfile.TemporaryDirectory() as folder:
        found = costs(Path(folder), options.stimuli)
    for stimuli, batches, seconds in found:
        print(f"{stimuli:7d}  {batches:7d}  {seconds:9.2f}")
    each_batch, each_stimulus = line(found)
    print(f"{1000 * each_batch:.1f} ms per batch, {1000 * each_stimulus:.2f} ms per stimulus")


def costs(folder: Path, stimuli: int) -> list[tuple[int, int, float]]:
    """Return numbers of stimuli and of batches, and the driver's seconds, for each size of batches."""
    path, there = forge(folder, stimuli)
    manifest, run = load_manifest(path), RunFolder(there)
    prepared = prepare(manifest, "cpu")
    hashes = prepared.recipes()
    found = []
    with (
        run.locked(),
        DaskExecutor(ExecutorSpec(name="dask", devices="cpu:1"), run.path) as executor,
    ):
        for size in (max(SIZES), *SIZES):  # the first starts the worker
            batches = joined(plan_batches(manifest, plan(manifest), 1), size)
            checkpoints = RunCheckpoints(run.checkpoints, executor.made_with)
            progress = Progress(quiet=True)
            job = Job(prepared, hashes, run, progress, checkpoints, Interrupts(), {})
            began = time.process_time()
            with progress.run(manifest, batches, list(hashes), shared=False, reached={}):
                for failures in executor.make(job, batches, progress):
                    if failures:
                        raise SystemExit(failures[0].error)
            found.append((len(job.done), len(batches), time.process_time() - began))
    return found[1:]


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
