"""How much faster two CPU workers are than one, and what dividing the cores costs.

``python -m benchmarks.workers --size 128 --seeds 6 --repeats 3``

Three ways to make the same set, each as a whole process in a fresh run folder, in turn: one worker
with one thread, two workers with one thread each, one process with two threads (a plain ``stimgen
run``). Beside the seconds of whole processes, those of the same commands on a set without syntheses
are measured: starting Python, loading weights, starting workers. What is left is the time of the
work itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.machine import describe_machine

WAYS: dict[str, tuple[int, tuple[str, ...]]] = {
    "one worker, one thread": (1, ("--devices", "cpu:1")),
    "two workers, one thread each": (2, ("--devices", "cpu:2")),
    "one process, two threads": (2, ("--executor", "local")),
}
"""Cores that a way may use, and its options."""


def manifest(size_px: int, seeds: int) -> dict[str, Any]:
    """Return a manifest with textures of one layer set; without seeds, with the originals alone."""
    found: dict[str, Any] = {
        "stimgen": 1,
        "name": "workers",
        "image": {"size_px": size_px, "color": "grey"},
        "sources": [{"id": name, "image": f"skimage:{name}"} for name in ("brick", "gravel")],
        "network": {"name": "vgg16"},
    }
    if not seeds:
        return found | {"controls": ["original"]}
    layers = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
    return found | {"layer_sets": {"pool4": layers}, "seeds": {"first": 1, "count": seeds}}


def seconds(path: Path, cores: int, options: tuple[str, ...]) -> float:
    """Return how long a whole process takes for a manifest."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "stimgen", "run", str(path), "--out", f"{out}/run"]
        started = time.perf_counter()
        subprocess.run(
            [*command, "--no-report", "--quiet", *options],
            env=os.environ | {"OMP_NUM_THREADS": str(cores)},
            check=True,
        )
        return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    parser.add_argument("--seeds", type=int, default=6, help="textures of each of two sources")
    parser.add_argument("--repeats", type=int, default=3, help="times that each way is measured")
    options = parser.parse_args(arguments)
    print(describe_machine(torch.device("cpu")))
    print(f"{2 * options.seeds} textures of {options.size} px, {options.repeats} repeats, medians")
    whole: dict[str, list[float]] = {way: [] for way in WAYS}
    start: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        work, nothing = Path(folder) / "work.yaml", Path(folder) / "nothing.yaml"
        work.write_text(yaml.safe_dump(manifest(options.size, options.seeds)))
        nothing.write_text(yaml.safe_dump(manifest(options.size, 0)))
        for _ in range(options.repeats):
            for way, (cores, given) in WAYS.items():
                start[way].append(seconds(nothing, cores, given))
                whole[way].append(seconds(work, cores, given))
    print(f"{'':<30}  {'whole, s':>9}  {'start, s':>9}  {'work, s':>9}  {'work, ratio':>11}")
    first = None
    for way in WAYS:
        both = statistics.median(whole[way]), statistics.median(start[way])
        left = both[0] - both[1]
        first = left if first is None else first
        print(f"{way:<30}  {both[0]:9.1f}  {both[1]:9.1f}  {left:9.1f}  {left / first:11.2f}")


if __name__ == "__main__":
    main()
