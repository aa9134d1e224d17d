"""How long a large manifest takes before anything is made, and how much memory.

``python -m benchmarks.planning``

Manifests of three shapes: few sources with many seeds, many sources, and many sources of which every stimulus
is matched to their mean. `check` is what `stimgen check` does, without the start of Python; `start` is what
`stimgen run` does beyond that before it makes anything: it reads the sources, and makes recipes and batches.
Weights are at hand. `peak` is the most memory that Python allocates from the manifest's text to its batches.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image as Pillow

from benchmarks.machine import describe_machine
from stimgen.manifest.check import summary
from stimgen.manifest.estimate import estimate
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import measuring_network, plan
from stimgen.runs.batches import measured_layers, plan_batches
from stimgen.runs.preparation import Networks, load_sources
from stimgen.runs.recipe import recipe, recipe_sha256

STIMULI = (1250, 2500, 5000)
SIZE_PX = 32
CONDITIONS = 5
TRIALS = {"design": "rating", "repeats": 1, "min_source_gap": 0}
SHAPES: dict[str, Callable[[int], tuple[int, dict[str, Any]]]] = {
    "5 sources": lambda stimuli: (5, {}),
    "10 seeds": lambda stimuli: (max(1, stimuli // CONDITIONS // 10), {}),
    "10 seeds, matched to the set": lambda stimuli: (
        max(1, stimuli // CONDITIONS // 10),
        {"matching": {"histogram": "set"}},
    ),
    "1 seed": lambda stimuli: (stimuli // CONDITIONS, {}),
    "1 seed, matched to the set": lambda stimuli: (
        stimuli // CONDITIONS,
        {"matching": {"histogram": "set"}},
    ),
}
"""What a number of stimuli is divided into: how many sources, and what the manifest says beside."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Large manifests.")
    parser.add_argument("--stimuli", type=int, nargs="+", default=STIMULI, help="how many stimuli")
    options = parser.parse_args(arguments)
    print(describe_machine(torch.device("cpu")))
    print(f"{'manifest':30s}  stimuli  sources  check, s  start, s  peak, kB per stimulus")
    for shape, divide in SHAPES.items():
        for stimuli in options.stimuli:
            sources, more = divide(stimuli)
            with tempfile.TemporaryDirectory() as folder:
                path = write_manifest(Path(folder), stimuli, sources, trials=TRIALS, **more)
                checking, starting = check_seconds(path), start_seconds(path)
                peak = peak_bytes(path) / stimuli / 1000
            print(
                f"{shape:30s}  {stimuli:7d}  {sources:7d}  {checking:8.2f}  {starting:8.2f}  {peak:21.1f}",
                flush=True,
            )


def write_manifest(folder: Path, stimuli: int, sources: int, size_px: int = SIZE_PX, **more: Any) -> Path:
    """Write a manifest of so many stimuli, with its source images, and return its path."""
    rng = np.random.default_rng(0)
    for number in range(sources):
        pixels = rng.integers(0, 256, (size_px, size_px), dtype=np.uint8)
        Pillow.fromarray(pixels).save(folder / f"texture{number:05d}.png")
    data = {
        "stimgen": 1,
        "name": "large",
        "image": {"size_px": size_px},
        "sources": [{"image": "*.png"}],
        "network": {"name": "vgg16", "normalise": False},
        "layer_sets": {f"condition{number}": ["conv1_1"] for number in range(CONDITIONS - 1)},
        "seeds": {"first": 1, "count": max(1, stimuli // sources // CONDITIONS)},
        "controls": ["phase_scrambled"],
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(data | more), "utf-8")
    return path


def check_seconds(path: Path) -> float:
    """Return how long `stimgen check` takes."""
    started = time.perf_counter()
    manifest = load_manifest(path)
    stimuli = plan(manifest)
    summary(manifest, stimuli, estimate(manifest, stimuli, device="cpu"))
    return time.perf_counter() - started


def start_seconds(path: Path) -> float:
    """Return how long `stimgen run` takes until it knows what to make."""
    manifest = load_manifest(path)
    networks = Networks(manifest, "cpu")
    networks.weights(manifest.network)
    started = time.perf_counter()
    sources = load_sources(manifest)
    stimuli = plan(manifest)
    for stimulus in stimuli:
        measured = measured_layers(manifest, measuring_network(manifest, stimulus))
        recipe_sha256(recipe(manifest, stimulus, sources, networks.weights, measured))
    plan_batches(manifest, stimuli, 1)
    return time.perf_counter() - started


def peak_bytes(path: Path) -> int:
    """Return the most memory that the plan of a manifest takes, from its text to its batches."""
    tracemalloc.start()
    try:
        manifest = load_manifest(path)
        plan_batches(manifest, plan(manifest), 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
