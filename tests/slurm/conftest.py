from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Commands
from run_manifests import TINY
from slurm_bench import Bench, missing, started

SMALL = TINY | {
    "name": "small",
    "image": {"size_px": 48, "ppd": 41},
    "sources": [{"id": name, "image": f"skimage:{name}"} for name in ("brick", "gravel")],
    "layer_sets": {"conv1_1": ["conv1_1"], "pool2": ["conv1_1", "pool1", "pool2"]},
    "seeds": {"count": 4},
    "synthesis": {"preset": "multiscale", "smallest_px": 24, "evaluations": [40, 60]},
}
"""26 stimuli."""


class Lab(Commands):
    """Commands where a cluster can be reached."""

    def __init__(self, folder: Path, slurm: Bench) -> None:
        super().__init__(folder, SMALL, slurm.environment)
        self.slurm = slurm


@pytest.fixture(scope="module")
def slurm() -> Iterator[Bench]:
    lacking = missing()
    if lacking and os.environ.get("CI"):
        pytest.fail(f"Slurm cannot be tested: {', '.join(lacking)} missing")
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)} (Debian: munge slurmctld slurmd slurm-client)")
    with started() as cluster:
        yield cluster


@pytest.fixture
def lab(slurm: Bench, tmp_path: Path) -> Iterator[Lab]:
    found = Lab(tmp_path, slurm)
    yield found
    found.stop()
    slurm.command("scancel", "--user=root")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the same manifest in one process, without a cluster."""
    commands = Commands(tmp_path_factory.mktemp("local"), SMALL)
    outcome = commands.run("run", commands.manifest, "--no-report")
    commands.stop()
    assert outcome.code == 0, outcome.output
    return commands.folder / "results" / "small"
