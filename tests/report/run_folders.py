"""Run folders of any content, written by hand, for the tests of this folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as Pillow

COLUMNS = ["stimulus_id", "filename", "source", "condition", "seed", "loss", "ppd", "preset"]
HASHES = ["source_sha256", "png_sha256"]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(stimulus_id: str, side: int, *, colour: bool = False) -> np.ndarray:
    """Return pixels that no other stimulus has."""
    rng = np.random.default_rng(list(stimulus_id.encode()))
    return rng.integers(0, 256, (side, side, 3) if colour else (side, side), dtype=np.uint8)


def write_run(
    folder: Path,
    *,
    name: str = "tiny",
    sources: tuple[str, ...] = ("brick", "grass"),
    layer_sets: tuple[str, ...] = ("pool1", "pool2"),
    controls: tuple[str, ...] = ("original", "scrambled"),
    seeds: tuple[int, ...] = (1, 2),
    failed: tuple[str, ...] = (),
    side: int = 32,
    colour: bool = False,
) -> Path:
    """Write a run of noise; the controls are named and called the same, `original` alone has no seed."""
    (folder / "stimuli").mkdir(parents=True)
    (folder / "records").mkdir()
    rows: list[dict[str, Any]] = []
    for condition in (*layer_sets, *controls):
        for source in sources:
            for seed in ("",) if condition == "original" else seeds:
                stimulus_id = f"{source}-{condition}" + (f"-s{seed}" if seed else "")
                if stimulus_id in failed:
                    continue
                content = png(noise(stimulus_id, side, colour=colour))
                (folder / "stimuli" / f"{stimulus_id}.png").write_bytes(content)
                values = [stimulus_id, f"stimuli/{stimulus_id}.png", source, condition, seed]
                measured = ["" if condition == "original" else "0.04951", "41.0", "multiscale v1"]
                hashes = [hashlib.sha256(part).hexdigest() for part in (source.encode(), content)]
                row = dict(zip(COLUMNS + HASHES, values + measured + hashes, strict=True))
                rows.append(row | {header: f"sha256:{row[header]}" for header in HASHES})
    with (folder / "stimuli.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS + HASHES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    dictionary = {"loss": {"LongName": "Loss"}, "ppd": {"LongName": "Pixels per degree", "Units": "px/deg"}}
    (folder / "stimuli.json").write_text(json.dumps(dictionary), encoding="utf-8")
    manifest = {
        "name": name,
        "sources": [{"id": source} for source in sources],
        "layer_sets": {layer_set: {} for layer_set in layer_sets},
        "seeds": list(seeds),
        "controls": [{"name": control, "id": control} for control in controls],
    }
    (folder / "manifest.resolved.yaml").write_text(
        yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8"
    )
    return folder
