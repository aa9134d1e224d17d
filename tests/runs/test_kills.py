"""Runs that are killed again and again, wherever they are: they end with the bytes of an undisturbed run."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from file_operations import KINDS, stop
from launching import Launcher
from run_manifests import write_manifest
from same_runs import comparable

from stimgen.verify.run import verify_run

CHANGES = {
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "gravel", "image": "skimage:gravel"}],
    "trials": [{"id": "which", "design": "two_interval", "min_source_gap": 0}],
}
"""Two sources, two layer sets, two controls and a trial list: 14 stimuli."""
AT_ONCE = "from stimgen.runs import checkpoints; checkpoints.EVERY_S = 0.0\n"
"""Every stage is followed by a checkpoint."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run."""

    manifest: Path
    files: dict[str, bytes | str]
    operations: list[list[str]]


@pytest.fixture(scope="module")
def undisturbed(forks: Launcher, tmp_path_factory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    manifest, log = write_manifest(folder, **CHANGES), folder / "log.txt"
    # Fills the cache, which is written to in the first run alone.
    assert forks.run("run", manifest, "--out", folder / "first").code == 0
    ended = forks.run("run", manifest, "--out", folder / "out", before=AT_ONCE + stop(log=str(log)))
    assert ended.code == 0, ended.errors
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    return Undisturbed(manifest, comparable(folder / "out"), lines)


def check_state(expected: Undisturbed, out: Path) -> None:
    """Check what a killed run has left."""
    pngs = {path.stem for path in out.glob("stimuli/*.png")}
    images = {path.stem for path in out.glob("optimised/*.safetensors")}
    records = {path.stem for path in out.glob("records/*.json")}
    assert records <= pngs <= images
    if (out / "manifest.resolved.yaml").exists():
        verified = verify_run(out)
        assert [one for one in verified.findings if one.severity == "wrong"] == []
        # Killed when all was done.
        assert not verified.right or comparable(out) == expected.files


def check_the_end(forks: Launcher, expected: Undisturbed, out: Path) -> None:
    """Let the run end, and compare it with the undisturbed one."""
    ended = forks.run("run", expected.manifest, "--out", out, before=AT_ONCE)
    assert ended.code == 0, ended.errors
    assert verify_run(out).findings == ()
    found = comparable(out)
    assert found.keys() == expected.files.keys()
    assert [name for name, content in found.items() if content != expected.files[name]] == []


def test_kills_between_all_operations_on_files(forks, undisturbed, tmp_path):
    counts = Counter(map(tuple, undisturbed.operations))
    assert {kind for kind, _ in counts} == set(KINDS)
    names = {name.split("/")[1] for _, name in counts}
    assert {"*.png", "*.json", "*.safetensors", "lock.json", "which.csv", "stimuli.csv", "run.json"} <= names
    # Tables are written before and after the stimuli are made.
    again = [("replace", f"out/{name}") for name in ("stimuli.csv", "traces.json", "run.json")]
    # The last time, run.json gets the hashes of the trial lists.
    assert [counts[place] for place in again] == [2, 2, 3]
    places = [(*place, 1) for place in counts] + [(*place, 2) for place in again] + [(*again[-1], 3)]
    assert len(places) >= 45
    lives, pending = 0, places
    while pending:
        out, lives = tmp_path / f"life{lives}" / "out", lives + 1
        out.parent.mkdir()
        left = []
        for place in pending:
            ended = forks.run("run", undisturbed.manifest, "--out", out, before=AT_ONCE + stop(kill_at=place))
            assert ended.code in (0, -signal.SIGKILL), ended.errors
            if ended.code == 0:  # this life has that behind it
                left.append(place)
            else:
                check_state(undisturbed, out)
        check_the_end(forks, undisturbed, out)
        assert len(left) < len(pending), left
        pending = left
