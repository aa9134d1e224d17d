"""A small run: images, stimuli.csv, and trial lists in the format of `stimgen trials`."""

from __future__ import annotations

import csv
import hashlib
import random
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

SIZE_PX = 48
CROP_PX = 20
DISTANCES = {"near": 0.05, "middle": 0.5, "far": 1.2}
"""gram_relative_pool4 of the conditions."""
CORRECT_KEY = {"left": "left", "right": "right", "bottom": "down"}


def make_run(folder: Path, *, color: str = "grey", ppd: str = "20") -> Path:
    """Write a run with one source, its original and one texture of each condition; return its folder."""
    rng = np.random.default_rng(0)
    (folder / "stimuli").mkdir(parents=True)
    (folder / "trials").mkdir()
    rows = []
    for condition, distance in {"original": 0.0, **DISTANCES}.items():
        name = f"brick-{condition}"
        shape = (SIZE_PX, SIZE_PX) if color == "grey" else (SIZE_PX, SIZE_PX, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / "stimuli" / f"{name}.png")
        rows.append(
            {"stimulus_id": name, "condition": condition, "ppd": ppd, "gram_relative_pool4": distance}
        )
    for row in rows:
        row["gram_relative_held_out"] = row["gram_relative_pool4"] or ""
    write_csv(folder / "stimuli.csv", rows)
    return folder


def image_cells(folder: Path, place: str, condition: str, x: int, y: int) -> dict[str, object]:
    file = folder / "stimuli" / f"brick-{condition}.png"
    return {
        f"{place}_id": file.stem,
        f"{place}_file": f"../stimuli/{file.name}",
        f"{place}_x": x,
        f"{place}_y": y,
        f"{place}_sha256": f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
    }


def shared_cells(design: str, trial: int, condition: str, trials_per_break: int) -> dict[str, object]:
    begins = trial > 1 and (trial - 1) % trials_per_break == 0
    return {
        "design": design,
        "trial_number": trial,
        "block": 1 + (trial - 1) // trials_per_break,
        "break_before": int(begins),
        "source": "brick",
        "condition": condition,
        "seed": 1,
        "stimulus_id": f"brick-{condition}",
        "crop_px": CROP_PX,
        "ppd": 20,
        "presentation_s": 0.2,
        "response_s": 1.2,
        "interval_s": 0.4,
        "original_id": "brick-original",
    }


def oddity_list(folder: Path, trials: int = 12, trials_per_break: int = 5) -> Path:
    rng = random.Random(1)
    rows = []
    for trial in range(1, trials + 1):
        condition = list(DISTANCES)[trial % 3]
        odd = rng.choice(list(CORRECT_KEY))
        odd_is = rng.choice(["original", "stimulus"])
        alone, twice = ("original", condition) if odd_is == "original" else (condition, "original")
        corners = iter([(0, 0), (SIZE_PX - CROP_PX, SIZE_PX - CROP_PX)])
        cells: dict[str, object] = {}
        for place in CORRECT_KEY:
            corner = (3, 7) if place == odd else next(corners)
            cells |= image_cells(folder, place, alone if place == odd else twice, *corner)
        shared = shared_cells("oddity", trial, condition, trials_per_break)
        rows.append(
            shared | {"odd_position": odd, "odd_is": odd_is} | cells | {"correct_key": CORRECT_KEY[odd]}
        )
    return write_csv(folder / "trials" / "oddity.csv", rows)


def two_interval_list(folder: Path, task: str = "which_is_original", trials: int = 6) -> Path:
    rng = random.Random(2)
    rows = []
    for trial in range(1, trials + 1):
        condition = list(DISTANCES)[trial % 3]
        first, second = rng.sample(["original", condition], 2)
        key = {"original": "left"}.get(first, "right")
        if task == "same_different":
            key = rng.choice(["s", "d"])
            second = first if key == "s" else second
        cells = image_cells(folder, "first", first, 0, 0) | image_cells(folder, "second", second, 28, 28)
        shared = shared_cells("two_interval", trial, condition, 100)
        rows.append(shared | {"task": task} | cells | {"isi_s": 0.5, "correct_key": key})
    return write_csv(folder / "trials" / "two_interval.csv", rows)


def monitor_file(
    path: Path, size_px: tuple[int, int] = (800, 600), ppd: float = 20, **luminance: object
) -> Path:
    """Write the calibration of a monitor with `ppd` pixels per degree at 57.29 cm, where 1 cm is 1°."""
    calibration = {
        "name": "virtual",
        "width_cm": size_px[0] / ppd,
        "distance_cm": 57.29,
        "size_px": list(size_px),
        "refresh_hz": 60,
    }
    path.write_text(yaml.safe_dump(calibration | (luminance or {"linear": True})), encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
