"""Small data sets whose classes differ by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stimgen.decoding.settings import DecodeSettings, ImageSettings, TrainingSettings
from stimgen.manifest.schema import NetworkSpec

SIDE_PX = 24
ORIENTATIONS = ("horizontal", "vertical")
QUICK = [
    *("--network", "vgg16", "--weights", "random:3", "--no-normalise", "--device", "cpu"),
    *("--size-px", str(SIDE_PX), "--color", "grey", "--layers", "conv1_1,pool1", "--epochs", "5"),
]
"""Options of a quick command: two layers of a network with random weights."""


def grating(orientation: str, rng: np.random.Generator, side: int = SIDE_PX) -> np.ndarray:
    """An 8-bit grating of random phase in noise."""
    rows, columns = np.mgrid[:side, :side]
    along = rows if orientation == "horizontal" else columns
    wave = np.cos(2 * np.pi * along / 4 + rng.uniform(0, 2 * np.pi))
    image = 0.5 + 0.25 * wave + 0.1 * rng.standard_normal((side, side))
    return np.round(255 * image.clip(0, 1)).astype(np.uint8)


def write_gratings(folder: Path, count: int, *, seed: int = 1) -> None:
    """Write `count` images of each orientation, which is their class."""
    rng = np.random.default_rng(seed)
    for number, orientation in enumerate(np.repeat(ORIENTATIONS, count)):
        path = folder / orientation / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grating(orientation, rng)).save(path)


def quick_settings(folder: Path, **changes) -> DecodeSettings:
    """The settings of `QUICK`."""
    usual = {
        "network": NetworkSpec(name="vgg16", weights="random:3", normalise=False),
        "layers": ("conv1_1", "pool1"),
        "image": ImageSettings(SIDE_PX, "grey"),
        "training": TrainingSettings(epochs=5),
    }
    return DecodeSettings(folder=folder, **(usual | changes))


def read(out: Path, table: str) -> pd.DataFrame:
    """A table of results. Its data dictionary must describe exactly its columns."""
    frame = pd.read_csv(out / f"{table}.csv", dtype={"file": str, "class": str})
    assert list(json.loads((out / f"{table}.json").read_text())) == list(frame.columns)
    return frame


def feature_bytes(folder: Path) -> dict[str, bytes]:
    """Name and content of every file with features, except the measured times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("*/*"))
        if path.name != "cost.json"
    }
