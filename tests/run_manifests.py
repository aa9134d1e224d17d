"""Small manifests that run in a second, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import Result
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest

TINY: dict[str, Any] = {
    "stimgen": 1,
    "name": "tiny",
    "image": {"size_px": 32, "ppd": 41},
    "sources": [{"id": "brick", "image": "skimage:brick"}],
    "network": {"name": "vgg16", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"], "pool1": ["conv1_1", "pool1"]},
    "seeds": [1, 2],
    "synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [5, 5]},
    "controls": ["original", "phase_scrambled"],
}
IDS = [
    "brick-conv1_1-s1",
    "brick-conv1_1-s2",
    "brick-pool1-s1",
    "brick-pool1-s2",
    "brick-original",
    "brick-phase_scrambled-s1",
    "brick-phase_scrambled-s2",
]
"""Stimuli of TINY, in the order of the plan."""


def write_manifest(folder: Path, **changes: Any) -> Path:
    """Write TINY with some sections changed (None: left out) to FOLDER/manifests/tiny.yaml."""
    data = {key: value for key, value in (TINY | changes).items() if value is not None}
    path = folder / "manifests" / "tiny.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def tiny(
    folder: Path,
    *,
    override_seeds: list[int] | None = None,
    override_network: str | None = None,
    **changes: Any,
) -> Manifest:
    """Load what `write_manifest` writes, with the command line's seeds and network."""
    return load_manifest(write_manifest(folder, **changes), seeds=override_seeds, network=override_network)


def stimgen(*arguments: object) -> Result:
    """Run the command line `stimgen ARGUMENTS` in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="stimgen")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
