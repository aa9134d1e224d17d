"""Packages that are not installed, programs that misbehave, and files of other versions."""

from __future__ import annotations

import json

import pytest
from fault_bench import write_manifest

from stimgen.runs.store import FORMAT

UNCACHED = (
    "from stimgen.networks import weights; from stimgen.runs import preparation; "
    "preparation.find_weights = weights.find_weights; "
)
PORTILLA = {
    "image": {"size_px": 128},
    "sources": [{"id": "brick", "image": "skimage:brick"}],
    "layer_sets": None,
    "trials": None,
    "measure": {"portilla_simoncelli": True, "copying": False},
}


def without(package):
    """Return code after which a package cannot be imported."""
    return f"import sys; sys.modules[{package!r}] = None; "


@pytest.mark.parametrize(
    ("package", "changes", "hint"),
    [("onnx", {}, "pip install"), ("plenoptic", PORTILLA, "pip install 'stimgen[ps]'")],
    ids=["onnx", "plenoptic"],
)
def test_run_without_a_package(bench, package, changes, hint):
    write_manifest(bench.folder, **changes)
    env = {"STIMGEN_CACHE": str(bench.folder / "cache")}
    bench.check(bench.run(before=without(package) + UNCACHED, env=env), 4, hint)
    assert not (bench.results / "stimuli").exists()


@pytest.mark.parametrize(
    "script",
    ["exec sleep 30", "kill -9 $$", "printf '\\377\\376\\n'"],
    ids=["hangs", "crashes", "prints nonsense"],
)
def test_nvidia_smi_misbehaves(bench, script):
    program = bench.folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    # A PyTorch without CUDA would not ask.
    before = "from stimgen.manifest import estimate; estimate._torch_without_gpu = lambda: False"
    bench.check(bench.stimgen("check", "manifests/faults.yaml", env=env, before=before), 0)
    bench.check_same(env=env)


def test_run_folder_of_a_newer_stimgen(bench):
    bench.check_same()
    for path in [*(bench.results / "records").glob("*.json"), bench.results / "run.json"]:
        content = json.loads(path.read_text()) | {"format": FORMAT + 1, "gloss": 0.5}
        content.get("versions", {})["stimgen"] = "9.1"
        path.write_text(json.dumps(content))
    before = {path: path.read_bytes() for path in bench.results.rglob("*") if path.is_file()}
    bench.check(bench.run(), 2, "newer stimgen 9.1", "Update stimgen")
    bench.check(bench.stimgen("trials", bench.results), 2)
    bench.check_disk("newer stimgen")
    assert {path: path.read_bytes() for path in before} == before
