from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from slurm_bench import Bench, missing, started

EXP1 = Path(__file__).parents[2] / "manifests" / "exp1.yaml"


def exp1_small() -> dict[str, Any]:
    """Return the manifest of exp1 with two sources, small images and short syntheses."""
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


@dataclass(frozen=True)
class Lab:
    """A folder with a manifest, and a cluster.

    Attributes
    ----------
    stimuli
        How many the manifest asks for.
    """

    folder: Path
    slurm: Bench
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        return self.folder / "manifests" / "exp1.yaml"

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start `stimgen ARGUMENTS` where the cluster can be reached."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stimgen", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str | Path, expect: int = 0) -> str:
        """Return what `stimgen ARGUMENTS` prints."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == expect, output
        return output


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
    environment = slurm.environment | {"OMP_NUM_THREADS": "1"}
    found = Lab(tmp_path, slurm, environment)
    found.manifest.parent.mkdir()
    found.manifest.write_text(yaml.safe_dump(exp1_small(), sort_keys=False))
    yield found
    for process in found.started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    slurm.command("scancel", "--user=root")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same manifest made by one process, without a cluster."""
    folder = tmp_path_factory.mktemp("local")
    manifest = folder / "manifests" / "exp1.yaml"
    manifest.parent.mkdir()
    manifest.write_text(yaml.safe_dump(exp1_small(), sort_keys=False))
    command = [sys.executable, "-m", "stimgen", "run", str(manifest), "--no-report", "--quiet"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=600)
    return folder / "results" / "exp1"
