"""Manifests as text, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.resolved import Manifest

MINIMAL: dict[str, Any] = {
    "stimgen": 1,
    "name": "exp1",
    "image": {"size_px": 256},
    "sources": ["skimage:brick"],
    "layer_sets": {"pool4": ["conv1_1", "pool4"]},
}


def load(
    folder: Path,
    *,
    override_network: str | None = None,
    override_seeds: list[int] | None = None,
    **changes: Any,
) -> Manifest:
    """Load the minimal manifest with some sections changed (None: left out), written to `folder`."""
    data = {key: value for key, value in (MINIMAL | changes).items() if value is not None}
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return load_manifest(path, network=override_network, seeds=override_seeds)


def refusal(folder: Path, **changes: Any) -> str:
    """Return what is said of a changed minimal manifest that is refused."""
    with pytest.raises(ManifestError) as caught:
        load(folder, **changes)
    return str(caught.value)
