"""A folder in which `stimgen` is run by its command line, and what it left there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fault_table import Fault
from PIL import Image as Pillow

from stimgen.atomic import TEMPORARY
from stimgen.errors import InputError
from stimgen.runs.load import load_run

MANIFEST: dict[str, Any] = {
    "stimgen": 1,
    "name": "faults",
    "image": {"size_px": 32, "ppd": 41},
    "sources": [{"id": "one", "image": "one.png"}, {"id": "two", "image": "two.png"}],
    "network": {"name": "vgg16", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"]},
    "seeds": [1, 2],
    "synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [4, 4]},
    "controls": ["original"],
    "trials": {"design": "rating", "seed": 3, "min_source_gap": 0},
}
"""Makes, in this order: one-original, two-original, one-conv1_1-s1, one-conv1_1-s2, and those of two."""

STIMULI = 6
NO_MESSAGE = re.compile(r" *(\d+/\d+  (?!.*FAILED)|\d+%\||.*B/s|Usage:|Try |[╭╰]|$)")


def write_image(path: Path, seed: int, size_px: int = 40) -> None:
    """Write a PNG file with noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size_px, size_px), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path, format="PNG")


def write_manifest(folder: Path, *, images: bool = True, **changes: Any) -> Path:
    """Write MANIFEST with some sections changed (None: left out) to FOLDER/manifests, with its images."""
    data = {key: value for key, value in (MANIFEST | changes).items() if value is not None}
    path = folder / "manifests" / "faults.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, seed in (("one", 1), ("two", 2)) if images else ():
        write_image(path.parent / f"{name}.png", seed)
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Launcher:
    """Starts processes of `stimgen`."""

    ask: Callable[[dict[str, object]], int]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Ran:
    """How a process ended."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """The first line that is not about a stimulus that was made."""
        lines = [line for line in self.errors.splitlines() if not NO_MESSAGE.match(line)]
        found = [line.strip(" │") for line in (*lines, *self.output.splitlines())]
        return next(filter(None, found), "nothing")

    def __str__(self) -> str:
        return f"exit {self.code}: {self.said}"


@dataclass(frozen=True)
class Bench:
    """Where a fault is caused."""

    folder: Path
    launcher: Launcher
    fault: Fault
    reference: Mapping[str, bytes]

    @property
    def results(self) -> Path:
        return self.folder / "results" / "faults"

    def start(self, *argv: object, before: str = "", env: Mapping[str, str] | None = None) -> int:
        """Start `stimgen` and return the number of its process."""
        # The report says when it was made, and takes longer than these runs.
        more = ["--no-report"] if argv[0] == "run" else []
        request = {"argv": [*map(str, argv), *more], "cwd": str(self.folder), "before": before}
        files = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        return self.launcher.ask({**request, **files, "env": dict(env or {})})

    def wait(self, number: int) -> Ran:
        """Wait for a process."""
        code = self.launcher.ask({"wait": number})
        texts = [(self.folder / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")]
        return Ran(code, *texts)

    def stimgen(self, *argv: object, before: str = "", env: Mapping[str, str] | None = None) -> Ran:
        """Run `stimgen` to its end: no traceback, whatever happens."""
        ran = self.wait(self.start(*argv, before=before, env=env))
        assert "Traceback" not in ran.errors + ran.output, ran.errors
        assert "This is a bug" not in ran.errors, ran.errors
        return ran

    def run(self, *more: object, **how: Any) -> Ran:
        """Run the manifest."""
        return self.stimgen("run", "manifests/faults.yaml", *more, **how)

    def see(self, ran: Ran, code: int, *words: str) -> None:
        """Keep what a process said, which ended with `code` and said `words`."""
        self.fault.saw(ran)
        text = ran.output + ran.errors
        assert ran.code == code, text
        for word in words:
            assert word in text, text

    def see_disk(self, folder: Path | None = None) -> str:
        """Keep and return what `load_run` says of the run folder, in which there is no half file."""
        folder = folder or self.results
        found = state(folder)
        self.fault.saw(f"on disk: {found}")
        leftovers = [path.name for path in folder.rglob(f"{TEMPORARY}*")] if folder.is_dir() else []
        assert leftovers == []
        return found

    def see_same(self, *more: object, folder: Path | None = None, **how: Any) -> None:
        """Run the manifest to its end, and keep that the run has the bytes that it has if nothing happens."""
        ran = self.run(*more, **how)
        assert ran.code == 0, ran.errors
        load_run(folder or self.results)
        assert bytes_of(folder or self.results) == self.reference
        self.fault.saw("again: exit 0, same bytes")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return what does not depend on time and place in a run folder: images and tables."""
    patterns = ("stimuli/*", "*.csv", "trials/*", "stimuli.json")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    }


def state(folder: Path) -> str:
    """Return what `load_run` says of a run folder: it compares records, files and the table."""
    try:
        run = load_run(folder, complete=False)
    except InputError as error:
        return error.problem.splitlines()[0]
    return f"{len(run.records)} of {STIMULI} stimuli, all described"


def mount(*words: object) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *map(str, words)], check=True)
