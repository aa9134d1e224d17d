"""Runs that reports and figures are made of, and changes to them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from stimgen.images.png import encode_png
from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import AcceptSpec
from stimgen.report.reported import ReportedRun
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


def noise(stimulus_id: str, side: int = 32, *, colour: bool = False) -> np.ndarray:
    """Return pixels that no other stimulus has."""
    rng = np.random.default_rng(list(stimulus_id.encode()))
    return rng.integers(0, 256, (side, side, 3) if colour else (side, side), dtype=np.uint8)


def noise_run(
    folder: Path,
    *,
    name: str = "tiny",
    sources: tuple[str, ...] = ("brick", "grass"),
    layer_sets: tuple[str, ...] = ("pool1", "pool2"),
    controls: tuple[str, ...] = ("original", "phase_scrambled"),
    seeds: tuple[int, ...] = (1, 2),
    failed: tuple[str, ...] = (),
    side: int = 32,
    colour: bool = False,
) -> ReportedRun:
    """Return a run of PNG files of noise without records, as a figure reads it."""
    (folder / "stimuli").mkdir(parents=True)
    rows = []
    for condition in (*layer_sets, *controls):
        for source in sources:
            for seed in (None,) if condition == "original" else seeds:
                stimulus_id = f"{source}-{condition}" + (f"-s{seed}" if seed else "")
                if stimulus_id in failed:
                    continue
                content = encode_png(noise(stimulus_id, side, colour=colour))
                path = folder / "stimuli" / f"{stimulus_id}.png"
                path.write_bytes(content)
                row = {"stimulus_id": stimulus_id, "source": source, "condition": condition, "seed": seed}
                row |= {
                    "loss": None if condition == "original" else 0.04951,
                    "ppd": 41.0,
                    "preset": "multiscale v4",
                }
                row |= {"source_sha256": f"sha256:{source}", "path": str(path)}
                rows.append(row | {"png_sha256": f"sha256:{hashlib.sha256(content).hexdigest()}"})
    table = pd.DataFrame(rows).astype({"seed": "Int64"})
    dictionary = {"loss": {"LongName": "Loss"}, "ppd": {"LongName": "Pixels per degree", "Units": "px/deg"}}
    (folder / "stimuli.json").write_text(json.dumps(dictionary), encoding="utf-8")
    resolved = {
        "sources": [{"id": source} for source in sources],
        "layer_sets": {layer_set: {} for layer_set in layer_sets},
        "seeds": list(seeds),
        "controls": [{"name": control, "id": control} for control in controls],
    }
    return ReportedRun(folder, name, [], table, label=name, manifest=resolved)
