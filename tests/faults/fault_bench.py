"""A folder in which `stimgen` is run from its command line, and what it left there."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from launching import Ended, Launcher
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
    "measure": {"layers": ["conv1_1"], "copying": False},
    "controls": ["original"],
    "trials": {"design": "rating", "seed": 3, "min_source_gap": 0},
}
"""Makes one-original, two-original, one-conv1_1-s1, one-conv1_1-s2, two-conv1_1-s1 and two-conv1_1-s2."""

STIMULI = 6


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
class Bench:
    """A folder in which a fault is caused."""

    folder: Path
    launcher: Launcher
    reference: Mapping[str, bytes]

    @property
    def results(self) -> Path:
        return self.folder / "results" / "faults"

    def stimgen(self, *argv: object, before: str = "", env: Mapping[str, str] | None = None) -> Ended:
        """Run `stimgen` after the Python code `before`; there is never a traceback."""
        # The report says when it was made, and takes longer than these runs.
        more = ["--no-report"] if argv[0] == "run" else []
        ended = self.launcher.run(*argv, *more, before=before, cwd=self.folder, **(env or {}))
        for word in ("Traceback", "This is a bug"):
            assert word not in ended.output + ended.errors, ended.errors
        return ended

    def run(self, *more: object, **how: Any) -> Ended:
        """Run the manifest."""
        return self.stimgen("run", "manifests/faults.yaml", *more, **how)

    def check(self, ended: Ended, code: int, *words: str) -> None:
        """Check the exit code and that the messages have all words."""
        text = ended.output + ended.errors
        assert ended.code == code, text
        for word in words:
            assert word in text, text

    def check_disk(self, words: str = "") -> None:
        """Check what `load_run` says of the run folder, and that no temporary file is left."""
        try:
            run = load_run(self.results, complete=False)
            found = f"{len(run.records)} of {STIMULI} stimuli"
        except InputError as error:
            found = error.problem.splitlines()[0]
        assert words in found
        assert list(self.results.rglob(f"{TEMPORARY}*")) == []

    def check_same(self, *more: object, **how: Any) -> None:
        """Run the manifest, and check that the result has the bytes of an undisturbed run."""
        ended = self.run(*more, **how)
        assert ended.code == 0, ended.errors
        load_run(self.results)
        assert bytes_of(self.results) == self.reference


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a run folder that do not depend on time and place: images and tables."""
    patterns = ("stimuli/*", "*.csv", "trials/*", "stimuli.json")
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def mount(*words: object) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *map(str, words)], check=True)
