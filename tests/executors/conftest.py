from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import Commands

from stimgen.executors.worker import BatchOrder, RunOrder
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.batches import Batch, plan_batches
from stimgen.runs.lock import read_owner
from stimgen.runs.preparation import prepare
from stimgen.runs.store import RunFolder

MANIFEST = {
    "stimgen": 1,
    "name": "small",
    "image": {"size_px": 48, "ppd": 41},
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "gravel", "image": "skimage:gravel"}],
    "network": {"name": "vgg16", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"], "pool2": ["conv1_1", "pool1", "pool2"]},
    "seeds": {"first": 1, "count": 3},
    "synthesis": {"preset": "multiscale", "smallest_px": 24, "evaluations": [40, 60]},
    "controls": ["original", "phase_scrambled"],
    "trials": [{"id": "which", "design": "two_interval", "min_source_gap": 0}],
}
"""20 stimuli."""
ON_CPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Commands]:
    found = Commands(tmp_path, MANIFEST, ON_CPU)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same manifest made by one process."""
    made = Commands(tmp_path_factory.mktemp("local"), MANIFEST, ON_CPU)
    outcome = made.run("run", made.manifest, "--out", "run", "--no-report")
    made.stop()
    assert outcome.code == 0, outcome.output
    return made.folder / "run"


@pytest.fixture
def run(bench, tmp_path):
    """A locked run folder, the order that workers get, and batches with their orders."""
    manifest = load_manifest(bench.manifest)
    folder = RunFolder(tmp_path / "run")
    recipes = prepare(manifest, "cpu").recipes()
    batches = plan_batches(manifest, plan(manifest), 1)

    def order(batch: Batch, **changes) -> BatchOrder:
        ids = [stimulus.stimulus_id for stimulus in batch.stimuli]
        return replace(BatchOrder(0, batch, {name: recipes[name] for name in ids}), **changes)

    folder.prepare()
    with folder.locked():
        owner = read_owner(folder.path)
        assert owner is not None
        yield SimpleNamespace(
            folder=folder,
            order=RunOrder(manifest, folder.path, owner, "cpu", {}, None),
            batches=batches,
            recipes=recipes,
            batch_order=order,
        )
