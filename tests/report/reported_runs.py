"""Finished runs that reports are made of, and changes to them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import AcceptSpec
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure, write_tables

SMALL: dict[str, Any] = {
    "stimgen": 1,
    "name": "small",
    "description": "A small set",
    "image": {"size_px": 32, "ppd": 41},
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "grass", "image": "skimage:grass"}],
    "network": {"name": "vgg16", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"], "pool1": ["conv1_1", "pool1"]},
    "seeds": [1, 2],
    "synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [3, 3]},
    "controls": ["original", "phase_scrambled"],
}


def manifest(folder: Path, **changes: Any) -> Manifest:
    """Return SMALL with some sections changed (None: left out), as a file in a folder."""
    data = {key: value for key, value in (SMALL | changes).items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load_manifest(path)


def copied(folder: Path, to: Path, *, keep: int | None = None, **accept: float) -> Path:
    """Copy a run with its first `keep` stimuli alone, and other thresholds."""
    shutil.copytree(folder, to)
    run = RunFolder(to)
    rewrite(run, [run.read_record(name) for name in ids(to)][:keep], accept=AcceptSpec(**accept))
    resolved = yaml.safe_load((to / "manifest.resolved.yaml").read_text("utf-8")) | {"accept": accept}
    (to / "manifest.resolved.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), "utf-8")
    return to


def ids(folder: Path) -> list[str]:
    with (folder / "stimuli.csv").open(encoding="utf-8", newline="") as file:
        return [row["stimulus_id"] for row in csv.DictReader(file)]


def rewrite(
    folder: RunFolder,
    records: list[Any],
    failures: tuple[Failure, ...] = (),
    accept: AcceptSpec | None = None,
) -> None:
    write_tables(folder, records, failures, accept or AcceptSpec())


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")
