"""Finished runs that reports are made of: a small real one, and many stimuli forged from its records."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as Pillow

from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import AcceptSpec
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256
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


def forge(like: Path, folder: Path, *, sources: int, seeds: int, side: int = 128) -> Path:
    """Write a run of many stimuli: the records of one source of a run under other ids, with noise as images.

    Each image is noise with a spectrum that falls, which compresses as badly as textures do.
    """
    shutil.copytree(like, folder, ignore=shutil.ignore_patterns("*.png", "records", "report.html"))
    run = RunFolder(folder)
    run.stimuli.mkdir(exist_ok=True)
    run.records.mkdir()
    names = ids(like)
    first = names[0].partition("-")[0]
    templates = {}
    for name in names:
        record = RunFolder(like).read_record(name)
        assert record is not None
        if record.source.id == first:
            templates.setdefault(record.condition, record)
    rng = np.random.default_rng(1)
    records = []
    for place in range(sources):
        for condition, record in templates.items():
            for seed in (None,) if record.seed is None else range(1, seeds + 1):
                source = f"source{place}"
                name = f"{source}-{condition}" + ("" if seed is None else f"-s{seed}")
                content = _noise(rng, side)
                run.png(name).write_bytes(content)
                one = record.model_dump() | {"stimulus_id": name, "filename": f"stimuli/{name}.png"}
                one |= {"png_sha256": sha256(content), "seed": seed}
                one["source"] |= {"id": source, "sha256": sha256(source.encode())}
                one["image"] |= {"size_px": side}
                one["luminance"] |= {"mean": float(rng.uniform(0.3, 0.7)), "sd": float(rng.uniform(0.1, 0.2))}
                power = np.geomspace(1e-3, 1e-7, side // 2) * rng.uniform(0.5, 2, side // 2)
                one["spectrum"] |= {"power": power.tolist(), "power_source": power.tolist()}
                records.append(Record.model_validate(one))
                run.record(name).write_text(records[-1].model_dump_json(), "utf-8")
    rewrite(run, records)
    resolved = yaml.safe_load((folder / "manifest.resolved.yaml").read_text("utf-8"))
    resolved["sources"] = [{"id": f"source{place}"} for place in range(sources)]
    resolved["seeds"] = list(range(1, seeds + 1))
    (folder / "manifest.resolved.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), "utf-8")
    change_json(folder / "run.json", stimuli=len(records), made=len(records))
    return folder


def _noise(rng: np.random.Generator, side: int) -> bytes:
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**0.5, s=(side, side))
    pixels = np.clip(127.5 + 45 * plane / plane.std(), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
