r"""The time of `stimgen run` for one stimulus, seen from outside, beside the published procedure.

``python -m benchmarks.outside --revisions REV --out benchmarks/results/outside.txt``

A fresh process makes one texture in a new folder, without a report, with warm caches. Its PNG file is judged
by `benchmarks.published`, a network that shares nothing with stimgen but the weights.

The published procedure starts from noise. Its seconds are those of its evaluations until one is at or below
the loss of the file, at the median seconds of an evaluation, and those in which a Python process imports
torch and reads the weights. Its image is not rounded to 8 bits. With ``--published FILE``, it runs to the end
and its losses are kept for the next time, in which 12 iterations say how fast it is now.

Builds take turns; seconds, memory and load average (before and after) are those of the fastest run. Only the
working tree is compared with the published procedure. A revision that does not know the setting `padding` is
judged with zeros. "To its loss" the working tree gets the revision's padding and the smallest of
``--budgets`` whose file has the revision's loss or a lower one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image as Pillow
from torch import Tensor

from benchmarks.large import COMMAND, REPORTS, process
from benchmarks.machine import describe_machine
from benchmarks.published import Judge, independent_network, published, read

ROOT = Path(__file__).parents[1]
SOURCES = "brick:rgb,gravel:grey,gravel:rgb,grass:grey,grass:rgb,ihc:rgb,motorcycle_left:rgb,coffee:rgb"
PHOTOGRAPHS = {"astronaut", "camera", "chelsea", "coffee", "motorcycle_left", "motorcycle_right", "rocket"}
LAYERS = "conv1_1,pool1,pool2,pool3,pool4"
PIECE = 12
STARTS = "import sys, scipy.optimize, torch, PIL.Image; torch.load(sys.argv[1])"
HEADER = (
    f"{'source':19} {'kind':7} {'build':12} {'padding':8} {'precision':16} {'seconds':>7} {'MB':>5} "
    f"{'loss':>8} | published: evals       s   ratio | to its loss: budget       s   ratio | load"
)


@dataclass(eq=False)
class Job:
    """One texture by one build, and its fastest run."""

    tree: Path
    source: str
    options: argparse.Namespace
    padding: str
    """What is asked for, and after a run what the build had."""
    budget: int | None = None
    fastest: tuple[float, float, float, float] = (float("inf"), 0.0, 0.0, 0.0)
    """Seconds, 10⁶ bytes, load average before and after."""
    precision: str = ""
    image: Tensor | None = None

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; without `padding` for a revision that does not know it."""
        name, _, colour = self.source.partition(":")
        schema = (self.tree / "stimgen" / "manifest" / "schema.py").read_text("utf-8")
        return {
            "stimgen": 1,
            "name": "outside",
            "image": {"size_px": self.options.size, "color": colour},
            "sources": [{"id": "source", "image": f"skimage:{name}"}],
            "network": {"name": "vgg16"} | ({"padding": self.padding} if "padding:" in schema else {}),
            "layer_sets": {"texture": self.options.layers.split(",")},
            "synthesis": {} if self.budget is None else {"evaluations": [60, self.budget]},
            "seeds": [1],
        }

    def run(self) -> None:
        """Make the texture in a new process and a new folder."""
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder, "outside.yaml"), Path(folder, "run")
            path.write_text(yaml.safe_dump(self.manifest()), "utf-8")
            # -P: the current folder, which may hold another build, does not come before PYTHONPATH.
            python = ["env", "-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPATH={self.tree}", sys.executable, "-P"]
            command = ["run", str(path), "--out", str(out), "--no-report", "--device", "cpu"]
            before = os.getloadavg()[0]
            cost = process([*python, "-c", REPORTS + COMMAND, *command])
            self.fastest = min(self.fastest, (*cost, before, os.getloadavg()[0]))
            (png,), (record,) = (out / "stimuli").glob("*.png"), (out / "records").glob("*.json")
            with Pillow.open(png) as image:
                pixels = np.atleast_3d(np.asarray(image, dtype=np.float32) / 255)
            made = json.loads(record.read_text("utf-8"))
        self.image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
        self.padding = made["network"].get("padding", "zeros")
        self.precision = "+".join(dict.fromkeys(one["precision"] for one in made["synthesis"]["traces"]))


class Curves:
    """The losses of the published procedure, from a file or measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        text = Path("/proc/cpuinfo").read_text("utf-8")
        found = dict(re.findall(r"^(model name|flags)\s*: (.*)$", text, re.MULTILINE))
        units = {"avx512_bf16", "amx_bf16", "amx_tile"} & set(found.get("flags", "").split())
        model = f"{found.get('model name', 'CPU')}, {', '.join(sorted(units)) or 'no avx512_bf16, no amx'}"
        self.machine = {"processor": model, "torch": torch.__version__, "threads": torch.get_num_threads()}
        self.known: dict[str, Any] = {}
        if options.published and options.published.exists():
            kept = json.loads(options.published.read_text("utf-8"))
            self.known = kept.pop("curves")
            if kept != self.machine:
                raise SystemExit(f"{options.published} is of {kept}, and this is {self.machine}.")
        network = independent_network(options.padding)
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.save([*network.kernels, *network.biases], file.name)
            command = [sys.executable, "-c", REPORTS + STARTS, file.name]
            self.start_s = min(process(command)[0] for _ in range(options.repeats + 1))

    def of(self, judge: Judge, source: str, lowest: float) -> dict[str, Any]:
        """Return the curve of a source down to the loss `lowest`; all of it if it is kept."""
        options, file = self.options, self.options.published
        key = f"{source} {options.size} {options.layers} {judge.network.padding}"
        if key in self.known:
            return published(judge, PIECE, -1.0) | {"losses": self.known[key]}
        curve = published(judge, options.iterations, -1.0 if file else lowest)
        if file:
            self.known[key] = curve["losses"]
            file.write_text(json.dumps(self.machine | {"curves": self.known}) + "\n", "utf-8")
        return curve


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    curves = Curves(options)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line.rstrip())
        print(lines[-1], flush=True)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n", "utf-8")

    say(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {curves.machine['processor']}")
    say(describe_machine(torch.device("cpu")))
    say(f"{options.size} px, {options.layers}; one texture, fastest of {options.repeats} runs")
    say(f"published procedure: at most {options.iterations} iterations, starts in {curves.start_s:.1f} s")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        trees = {"working tree": ROOT}
        for number, revision in enumerate(options.revisions):
            trees[revision] = stack.enter_context(_checked_out(revision, f"{folder}/{number}"))
        sources = options.sources.split(",")
        for tree in trees.values():
            Job(tree, sources[0], options, options.padding, 1).run()  # fills the caches
        say(HEADER)
        for source in sources:
            name, _, colour = source.partition(":")
            pixels = read(name, options.size, colour)
            for line in _rows(source, pixels, trees, curves):
                say(line)


def _rows(source: str, pixels: Tensor, trees: dict[str, Path], curves: Curves) -> Iterator[str]:
    options = curves.options
    judges: Callable[[str], Judge] = cache(
        lambda padding: Judge(independent_network(padding), pixels, options.layers.split(","))
    )

    def loss(job: Job) -> float:
        assert job.image is not None
        with torch.no_grad():
            return judges(job.padding).loss(job.image).item()

    builds = {build: Job(tree, source, options, options.padding) for build, tree in trees.items()}
    for job in builds.values():
        job.run()
    budgets: dict[tuple[str, int], Job] = {}
    equal: dict[str, Job] = {}
    for revision in options.revisions:
        old = builds[revision]
        for budget in options.budgets:
            key = old.padding, budget
            if key not in budgets:
                budgets[key] = Job(ROOT, source, options, *key)
                budgets[key].run()
            if loss(budgets[key]) <= loss(old):
                equal[revision] = budgets[key]
                break
    for _ in range(options.repeats - 1):
        for job in dict.fromkeys((*builds.values(), *equal.values())):
            job.run()
    for build, job in builds.items():
        seconds, megabytes, *load = job.fastest
        evaluations, longer, ratio, each = "-", "-", "-", ""
        if job.tree == ROOT:
            curve = curves.of(judges(job.padding), source, loss(job))
            place = next((number for number, one in enumerate(curve["losses"], 1) if one <= loss(job)), None)
            total = curves.start_s + (place or len(curve["losses"])) * curve["seconds"]
            more = "" if place else "> "
            evaluations, longer = f"{more}{place or len(curve['losses'])}", f"{total:.0f}"
            ratio = f"{more}{total / seconds:.1f}"
            each = f"; published {curve['seconds']:.3f} s each, {curve['load'][0]:.1f} {curve['load'][1]:.1f}"
        same = f"{'-' if job.tree == ROOT else f'> {options.budgets[-1]}':>19}{'':16}"
        if build in equal:
            faster = equal[build].fastest[0]
            same = f"{equal[build].budget:19} {faster:7.1f} {seconds / faster:7.2f}"
        yield (
            f"{source:19} {'photo' if source.partition(':')[0] in PHOTOGRAPHS else 'texture':7} "
            f"{build:12.12} {job.padding:8} {job.precision:16} {seconds:7.1f} {megabytes:5.0f} "
            f"{loss(job):8.3g} | {evaluations:>16} {longer:>7} {ratio:>7} | {same} | "
            f"{load[0]:.1f} {load[1]:.1f}{each}"
        )


@contextlib.contextmanager
def _checked_out(revision: str, folder: str) -> Iterator[Path]:
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", folder, revision], check=True)
    try:
        yield Path(folder)
    finally:
        subprocess.run([*git, "remove", "--force", folder], check=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sources", default=SOURCES, help="images of scikit-image's, grey or rgb")
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--layers", default=LAYERS)
    parser.add_argument("--padding", choices=("mirrored", "zeros"), default="mirrored")
    parser.add_argument("--revisions", nargs="+", default=[], help="other builds: git revisions")
    parser.add_argument("--repeats", type=int, default=2, help="runs of which the fastest counts")
    parser.add_argument("--iterations", type=int, default=1000, help="most of the published procedure")
    parser.add_argument(
        "--budgets",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[10, 15, 20, 30, 40, 60, 100],
        help="evaluations at full size, rising",
    )
    parser.add_argument("--published", type=Path, help="file that keeps the published procedure's losses")
    parser.add_argument("--out", type=Path, help="file to write beside printing")
    return parser


if __name__ == "__main__":
    main()
