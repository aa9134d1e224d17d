"""What stimuli cost beside their making, in sets of up to 100,000.

``python -m benchmarks.large --stimuli 1000 10000 50000 --planned 100000 --out benchmarks/results/large.txt``

A set is forged: a small run is made, and its records are written again under the ids and recipes of a large
manifest, with other noise as images, so that for stimgen all stimuli are done. Then whole processes are
measured, with the most memory that each has:

- `check`: ``stimgen check`` of the manifest, with what a run would keep and make;
- `first run`: what ``stimgen run`` does in an empty folder before it makes anything;
- `kept`: ``stimgen run`` where all is done: plan, recipes, all records and images read and hashed, tables;
- `tables`, `verify`: these commands;
- `load`: ``stimgen.load_run`` as an experiment calls it.

The last column is what a stimulus costs a run beside its making (`kept`, from the smallest set to this one),
as a share of a stimulus that takes 0.1 s, as on a fast GPU. Of sets that are only planned, the first two are
measured, in an empty folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image as Pillow

from benchmarks.machine import describe_machine
from stimgen.images.png import encode_png
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.preparation import prepare
from stimgen.runs.record import Record, sealed
from stimgen.runs.runner import run
from stimgen.runs.steps import encode_image
from stimgen.runs.store import RunFolder, sha256

SIZE_PX = 64
SOURCES, CONDITIONS = 5, 5
FAST_S = 0.1
STARTS = (
    "import sys; from pathlib import Path; from stimgen.manifest.load import load_manifest; "
    "from stimgen.manifest.plan import plan; from stimgen.runs.batches import plan_batches; "
    "from stimgen.runs.preparation import prepare; from stimgen.runs.store import RunFolder; "
    "manifest = load_manifest(Path(sys.argv[1])); prepared = prepare(manifest, 'cpu'); prepared.recipes(); "
    "plan_batches(manifest, plan(manifest), 16); RunFolder(Path(sys.argv[2])).prepare(len(plan(manifest)))"
)
MARK = "VmHWM:"
REPORTS = (
    "import atexit; atexit.register(lambda: print(*[line for line in open('/proc/self/status') "
    "if line.startswith('VmHWM')])); "
)
"""Prints the most memory that the process had, on Linux; ru_maxrss would count that of its parent."""
COMMAND = "import runpy; runpy.run_module('stimgen', run_name='__main__', alter_sys=True)"
LOADS = "import sys, stimgen; stimgen.load_run(sys.argv[1])"
Cost = tuple[float, float]  # seconds, and 10⁶ bytes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Large sets.")
    parser.add_argument(
        "--stimuli", type=int, nargs="+", default=(100, 1000, 10_000), help="how many stimuli"
    )
    parser.add_argument("--planned", type=int, nargs="*", default=(), help="sets that are only planned")
    parser.add_argument("--out", type=Path, help="file to write beside printing")
    options = parser.parse_args(arguments)
    lines = [describe_machine(torch.device("cpu")), "seconds, and memory in MB, of whole processes"]
    names = ("check", "first run", "kept", "tables", "verify", "load")
    lines.append(f"{'stimuli':>8s}" + "".join(f"{name:>16s}" for name in names) + "   per stimulus, share")
    print("\n".join(lines), flush=True)
    first: tuple[int, Cost] | None = None
    for stimuli, measured in [
        *((n, measure) for n in options.stimuli),
        *((n, planned) for n in options.planned),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            costs = measured(Path(folder), stimuli)
        line = f"{stimuli:8d}" + "".join(as_text(costs.get(name)) for name in names)
        if first and "kept" in costs:
            each = (costs["kept"][0] - first[1][0]) / (stimuli - first[0])
            line += f"{1000 * each:10.2f} ms {each / FAST_S:7.2%}"
        first = first or (stimuli, costs["kept"])
        lines.append(line.rstrip())
        print(line, flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", "utf-8")


def as_text(cost: Cost | None) -> str:
    """Return a cost in its columns."""
    return f"{cost[0]:9.1f} {cost[1]:6.0f}" if cost else f"{'-':>9s} {'-':>6s}"


def planned(folder: Path, stimuli: int) -> dict[str, Cost]:
    """Return the cost of what comes before anything is made, for a set of about so many stimuli."""
    manifest = write_manifest(folder, stimuli, SOURCES)
    return {
        "check": stimgen("check", manifest, "--out", folder / "run", "--device", "cpu"),
        "first run": process([sys.executable, "-c", REPORTS + STARTS, str(manifest), str(folder / "empty")]),
    }


def measure(folder: Path, stimuli: int) -> dict[str, Cost]:
    """Return the cost of each command for a set of about so many stimuli."""
    manifest, there = forge(folder, stimuli)
    return {
        "first run": process([sys.executable, "-c", REPORTS + STARTS, str(manifest), str(folder / "empty")]),
        "kept": stimgen("run", manifest, "--out", there, "--no-report", "--device", "cpu"),
        "check": stimgen("check", manifest, "--out", there, "--device", "cpu"),
        "tables": stimgen("tables", there),
        "verify": stimgen("verify", there),
        "load": process([sys.executable, "-c", REPORTS + LOADS, str(there)]),
    }


def write_manifest(folder: Path, stimuli: int, sources: int) -> Path:
    """Write a manifest of so many stimuli, with its source images, and return its path."""
    rng = np.random.default_rng(0)
    for number in range(sources):
        pixels = rng.integers(0, 256, (SIZE_PX, SIZE_PX), dtype=np.uint8)
        Pillow.fromarray(pixels).save(folder / f"texture{number:05d}.png")
    data = {
        "stimgen": 1,
        "name": "large",
        "image": {"size_px": SIZE_PX, "color": "grey"},
        "sources": [{"image": "*.png"}],
        "network": {"name": "vgg16", "normalise": False},
        "layer_sets": {f"condition{number}": ["conv1_1"] for number in range(CONDITIONS - 1)},
        "seeds": {"first": 1, "count": max(1, stimuli // sources // CONDITIONS)},
        "controls": ["phase_scrambled"],
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    return path


def forge(folder: Path, stimuli: int) -> tuple[Path, Path]:
    """Return a manifest, and a run folder in which its stimuli are done but for their tables."""
    small = write_manifest(folder, 1, SOURCES)
    made = run(load_manifest(small), out=folder / "small", device="cpu")
    if made.failures:
        raise SystemExit(f"the small run failed: {made.failures[0].error}")
    templates = {
        (record.source.id, record.condition): record
        for path in (folder / "small" / "records").glob("*.json")
        for record in [Record.model_validate_json(path.read_bytes())]
    }
    path = write_manifest(folder, stimuli, SOURCES)
    manifest = load_manifest(path)
    recipes = prepare(manifest, "cpu").recipes()
    there = RunFolder(folder / "run")
    there.prepare(len(recipes))
    rng = np.random.default_rng(1)
    for stimulus in plan(manifest):
        name = stimulus.stimulus_id
        png = encode_png(rng.integers(0, 256, (SIZE_PX, SIZE_PX), dtype=np.uint8))
        image = encode_image(rng.random((SIZE_PX, SIZE_PX), np.float32))
        there.png(name).write_bytes(png)
        there.image(name).write_bytes(image)
        template = templates[stimulus.source, stimulus.condition]
        record = template.model_copy(
            update={
                "stimulus_id": name,
                "filename": there.filename(name),
                "png_sha256": sha256(png),
                "optimised_sha256": sha256(image),
                "recipe_sha256": recipes[name],
                "seed": stimulus.seed,
            }
        )
        there.record(name).write_text(sealed(record).model_dump_json(indent=1) + "\n", "utf-8")
    return path, there.path


def stimgen(*arguments: object) -> Cost:
    """Return the cost of a command of stimgen."""
    return process([sys.executable, "-c", REPORTS + COMMAND, *map(str, arguments)])


def process(command: Sequence[str]) -> Cost:
    """Return the seconds of a process and the most memory that it had."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read().decode()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{text[-3000:]}")
    return seconds, int(text.rpartition(MARK)[2].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
