"""Packages that are not installed, programs that misbehave, and files of other versions."""

from __future__ import annotations

import json

import network_files
import pytest
from fault_bench import write_manifest
from test_faults_weights import convolutions

pytestmark = pytest.mark.slow

HIDE = "import sys; sys.modules[{package!r}] = None; "
UNCACHED = (
    "from stimgen.networks import weights; from stimgen.runs import preparation; "
    "preparation.find_weights = weights.find_weights; "
)
PORTILLA = {
    "image": {"size_px": 128},
    "sources": [{"id": "brick", "image": "skimage:brick"}],
    "layer_sets": None,
    "trials": None,
}
CASES = {
    "onnx, which reads the package of weights": ("onnx", {}, "pip install"),
    "plenoptic, to measure": (
        "plenoptic",
        PORTILLA | {"controls": ["original"], "measure": {"portilla_simoncelli": True, "copying": False}},
        "pip install 'stimgen[ps]'",
    ),
    "plenoptic, for a control": (
        "plenoptic",
        PORTILLA | {"controls": ["portilla_simoncelli"]},
        "pip install 'stimgen[ps]'",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_package_missing(bench, fault, what):
    package, changes, cure = CASES[what]
    fault(
        f"not installed: {what}",
        done="stimgen run without the package",
        expects="exit 4 with the command that installs it, before anything is made",
    )
    write_manifest(bench.folder, **changes)
    env = {"STIMGEN_CACHE": str(bench.folder / "cache")}
    ran = bench.run(before=HIDE.format(package=package) + UNCACHED, env=env)
    bench.see(ran, 4, cure)
    assert not (bench.results / "stimuli").exists()


@pytest.mark.parametrize(
    ("package", "ending", "write"),
    [("h5py", "h5", network_files.write_caffe), ("onnx", "onnx", network_files.write_onnx)],
)
def test_reader_of_weights_missing(bench, fault, package, ending, write):
    fault(
        f"not installed: {package}",
        done=f"stimgen weights import net.{ending}",
        expects="exit 4 with the command that installs it",
    )
    write(bench.folder / f"net.{ending}", convolutions())
    before = HIDE.format(package=package) + "import fault_networks; fault_networks.register_tiny()"
    command = ("weights", "import", f"net.{ending}", "--network", "tiny", "--input", "torchvision")
    env = {"STIMGEN_CACHE": str(bench.folder / "cache")}
    bench.see(bench.stimgen(*command, before=before, env=env), 4, f"pip install {package}")
    assert not (bench.folder / "cache").exists()


@pytest.mark.parametrize("package", ["sklearn", "matplotlib"])
def test_decoding_package_missing(bench, fault, package):
    fault(
        f"not installed: {package}",
        done="stimgen decode",
        expects="exit 4 with the command that installs it, before anything is read",
    )
    # As the import system sees it: no such package.
    before = (
        "import importlib.util as u, sys; find = u.find_spec; "
        f"u.find_spec = lambda name, *more: None if name.startswith({package!r}) else find(name, *more); "
        f"sys.modules[{package!r}] = None"
    )
    ran = bench.stimgen("decode", "manifests", "--out", "decoded", before=before)
    bench.see(ran, 4, "pip install 'stimgen[decode]'")
    assert not (bench.folder / "decoded").exists()


@pytest.mark.parametrize(
    ("what", "script"),
    [
        ("kills itself", "kill -9 $$"),
        ("hangs", "exec sleep 30"),
        ("prints nonsense", "printf '\\377\\376\\n'"),
        ("says that there is no driver", "echo 'no driver' >&2; exit 9"),
    ],
)
def test_nvidia_smi(bench, fault, what, script):
    fault(
        f"nvidia-smi that {what}",
        done="stimgen check and run --device auto with such a program",
        expects="exit 0",
    )
    program = bench.folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    # A PyTorch without CUDA would not ask.
    before = "from stimgen.manifest import estimate; estimate._torch_without_gpu = lambda: False"
    bench.see(bench.stimgen("check", "manifests/faults.yaml", env=env, before=before), 0)
    bench.see_same(env=env)


def records(bench):
    return sorted((bench.results / "records").glob("*.json"))


OLD = {
    "without a part that came later": lambda record: record.pop("statistics"),
    "with a part that is no more": lambda record: record.update(colour="grey"),
    "of another format altogether": lambda record: record.clear(),
}


@pytest.mark.parametrize("what", OLD)
def test_old_record(bench, fault, what):
    fault(
        f"record {what}",
        done="one record of a finished run changed so, then load_run, then the same command",
        expects="load_run names the record; one made, five kept, the same bytes",
    )
    bench.see_same()
    path = records(bench)[0]
    record = json.loads(path.read_text())
    OLD[what](record)
    path.write_text(json.dumps(record))
    assert path.name in bench.see_disk()
    bench.see(bench.run(), 0, "1 made, 5 kept")
    bench.see_same()


def test_run_without_a_format(bench, fault):
    fault(
        "run folder from before run.json had a format",
        done="the key removed from run.json of a finished run",
        expects="exit 0: all kept",
    )
    bench.see_same()
    path = bench.results / "run.json"
    summary = json.loads(path.read_text())
    del summary["format"]
    path.write_text(json.dumps(summary))
    assert "6 of 6" in bench.see_disk()
    bench.see(bench.run(), 0, "all 6 stimuli are there")


def test_newer_run(bench, fault):
    fault(
        "run folder of a newer stimgen",
        done="format 2 and parts that this version does not know in run.json and all records",
        expects="exit 2 with both versions and the cure from run, trials and load_run; no file changed",
    )
    bench.see_same()
    for path in [*records(bench), bench.results / "run.json"]:
        content = json.loads(path.read_text()) | {"format": 3, "gloss": 0.5}
        content.get("versions", {})["stimgen"] = "9.1"
        path.write_text(json.dumps(content))
    before = {path: path.read_bytes() for path in bench.results.rglob("*") if path.is_file()}
    bench.see(bench.run(), 2, "newer stimgen 9.1", "Update stimgen")
    assert bench.stimgen("trials", bench.results).code == 2
    assert "newer stimgen" in bench.see_disk()
    assert {path: path.read_bytes() for path in before} == before
