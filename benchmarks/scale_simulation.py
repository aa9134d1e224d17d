"""How many workers one driver can feed, and what ends of jobs and preemptions cost: a simulation.

``python -m benchmarks.scale_simulation``

One driver hands batches to workers. A worker makes a batch in a time that varies; then the driver, which does
one thing at a time, reads what was made and hands out the next batch. Jobs end after their walltime, and no
batch is begun with less than `MARGIN` times left of what a batch takes; the next job starts after a wait.
Preemptions come at random and cost the whole batch under way, as does the end of a job in which a batch takes
longer than was expected. That is more than they cost where checkpoints are used; and here a worker waits for
its next batch, which in a run waits for it. 3.5 ms for the tables of a stimulus at the end are measured by
``python -m benchmarks.large``, and what the driver does meanwhile for each stimulus and each batch by
``python -m benchmarks.driver``.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stimgen.executors.worker import MARGIN


@dataclass(frozen=True)
class Setting:
    """What is simulated; all times in seconds."""

    stimuli: int = 100_000
    per_batch: int = 16
    workers: int = 1
    stimulus_s: float = 1.0  # of a worker
    spread: float = 0.2  # standard deviation of a batch's time as a share of it
    record_s: float = 0.00181  # of the driver for each stimulus
    batch_s: float = 0.0072  # of the driver for each batch
    table_s: float = 0.0035  # of the driver for each stimulus at the end
    walltime_s: float = 4 * 3600.0  # that a job of a worker may take
    wait_s: float = 120.0  # of the next job
    preemptions_per_s: float = 0.1 / 3600  # of each worker


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    seconds: float  # from the first batch to the tables
    driver_share: float  # of the time before the tables in which the driver was busy
    lost_share: float  # of the workers' time that went into batches that were lost, and into waiting for jobs


def simulate(setting: Setting, seed: int = 0) -> Outcome:
    """Return what becomes of one run; ValueError if no batch fits into a walltime."""
    size = setting.stimulus_s * setting.per_batch
    if MARGIN * size > setting.walltime_s:
        raise ValueError(f"no batch of {size:g} s fits into a walltime of {setting.walltime_s:g} s")
    times = _times(setting, size, np.random.default_rng(seed))
    arrivals = np.random.default_rng(seed + 1)
    to_do = -(-setting.stimuli // setting.per_batch)
    driver_free = driver_busy = lost = now = 0.0
    handling = setting.batch_s + setting.record_s * setting.per_batch
    job_ends = [setting.walltime_s] * setting.workers
    # When, a number that makes ties definite, which worker, and whether it is done with a batch or wants one.
    order = itertools.count()
    events = [(0.0, next(order), worker, False) for worker in range(setting.workers)]
    while events:
        now, _, worker, done = heapq.heappop(events)
        if done:
            driver_free = max(driver_free, now) + handling
            driver_busy += handling
            heapq.heappush(events, (driver_free, next(order), worker, False))
            continue
        if not to_do:
            continue
        if now + MARGIN * size > job_ends[worker]:
            # It may have ended, and the next one begun, while the driver was busy.
            begins = max(now, job_ends[worker] + setting.wait_s)
            lost += begins - now
            job_ends[worker] = begins + setting.walltime_s
            heapq.heappush(events, (begins, next(order), worker, False))
            continue
        takes = next(times)
        rate = setting.preemptions_per_s
        preempted = arrivals.exponential(1 / rate) if rate else np.inf
        ends = min(preempted, job_ends[worker] - now)
        if ends < takes:
            lost += ends + setting.wait_s
            begins = now + ends + setting.wait_s
            job_ends[worker] = begins + setting.walltime_s
            heapq.heappush(events, (begins, next(order), worker, False))
            continue
        to_do -= 1
        heapq.heappush(events, (now + takes, next(order), worker, True))
    made = max(now, driver_free)
    share = driver_busy / made
    return Outcome(made + setting.table_s * setting.stimuli, share, lost / (made * setting.workers))


def _times(setting: Setting, size: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield times of batches: lognormal, with the mean `size`."""
    variance = np.log1p(setting.spread**2)
    while True:
        yield from size * rng.lognormal(-variance / 2, np.sqrt(variance), 4096)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How many workers one driver can feed.")
    parser.add_argument("--stimuli", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, nargs="+", default=(0.1, 1, 10), help="per stimulus")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 4, 16, 64, 256, 1024))
    options = parser.parse_args(arguments)
    print("s per stimulus  workers   hours  speed-up  efficiency  driver busy  lost")
    for seconds in options.seconds:
        alone = simulate(Setting(stimuli=options.stimuli, stimulus_s=seconds)).seconds
        for workers in options.workers:
            setting = Setting(stimuli=options.stimuli, stimulus_s=seconds, workers=workers)
            found = simulate(setting)
            faster = alone / found.seconds
            print(
                f"{seconds:14g}  {workers:7d}  {found.seconds / 3600:6.2f}  {faster:8.1f}  "
                f"{faster / workers:10.0%}  {found.driver_share:11.0%}  {found.lost_share:4.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
