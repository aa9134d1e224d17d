from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Commands
from slurm_bench import Bench, missing, started

EXP1 = Path(__file__).parents[2] / "manifests" / "exp1.yaml"


def exp1_small() -> dict[str, Any]:
    """Return exp1 with two sources, small images and short syntheses: 26 stimuli."""
    data: dict[str, Any] = yaml.safe_load(EXP1.read_text())
    data["image"] = {"size_px": 48, "color": "grey", "ppd": 41}
    data["sources"] = [{"id": name, "image": f"skimage:{name}"} for name in ("brick", "gravel")]
    data["layer_sets"] = {name: data["layer_sets"][name] for name in ("conv1_1", "pool2")}
    data["seeds"] = {"first": 1, "count": 4}
    data["controls"] = ["original", "phase_scrambled"]
    data["synthesis"] = {"preset": "multiscale", "smallest_px": 24, "evaluations": [40, 60]}
    data.pop("accept", None)
    data.pop("trials", None)
    return data


class Lab(Commands):
    """Commands where a cluster can be reached."""

    def __init__(self, folder: Path, slurm: Bench) -> None:
        super().__init__(folder, exp1_small(), slurm.environment)
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
    commands = Commands(tmp_path_factory.mktemp("local"), exp1_small())
    outcome = commands.run("run", commands.manifest, "--no-report")
    commands.stop()
    assert outcome.code == 0, outcome.output
    return commands.folder / "results" / "exp1"
