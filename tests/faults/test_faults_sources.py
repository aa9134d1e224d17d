"""Sources that change, and images with values that are not numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from fault_bench import bytes_of, write_image, write_manifest

pytestmark = pytest.mark.slow


def sources_of(bench):
    records = [json.loads(path.read_text()) for path in sorted((bench.results / "records").glob("*.json"))]
    return {record["stimulus_id"]: record["source"]["sha256"] for record in records}


def test_source_changed_between_runs(bench, fault):
    fault(
        "source file changed between two runs",
        done="a finished run, then other pixels in two.png, then the same command",
        expects="the stimuli of that source are made anew, the others kept; with the old file, the old bytes",
    )
    bench.see_same()
    write_image(bench.folder / "manifests" / "two.png", 3)
    bench.see(bench.run(), 0, "3 made, 3 kept", "altered: replaced")
    bench.see_disk()
    after = bytes_of(bench.results)
    changed = {name for name in after if name.endswith(".png") and after[name] != bench.reference[name]}
    assert changed == {f"stimuli/two-{end}.png" for end in ("original", "conv1_1-s1", "conv1_1-s2")}
    write_image(bench.folder / "manifests" / "two.png", 2)
    bench.see_same()


def test_source_changed_during_a_run(bench, fault):
    fault(
        "source file changed during a run",
        done="other pixels in two.png just before the fourth image is written",
        expects="all stimuli are of the file that was read; the next run makes those of two anew",
    )
    before = (
        "import sabotage, fault_bench; from pathlib import Path; sabotage.when_writing('*/stimuli/*.png', "
        "lambda: fault_bench.write_image(Path('manifests/two.png'), 3), nth=4)"
    )
    bench.see(bench.run(before=before), 0, "6 made")
    bench.see_disk()
    assert len(set(sources_of(bench).values())) == 2
    assert bytes_of(bench.results) == bench.reference
    bench.see(bench.run(), 0, "3 made, 3 kept")
    write_image(bench.folder / "manifests" / "two.png", 2)
    bench.see_same()


def test_photograph_changed_during_a_run(bench, fault):
    fault(
        "photograph changed before a control reads it again",
        done="other pixels in two.png while a run with the control other_crop is under way",
        expects="exit 3: that control of that source fails, with the cause; the others are made",
    )
    for name, seed in (("one", 1), ("two", 2)):
        write_image(bench.folder / "manifests" / f"{name}.png", seed, size_px=96)
    boxes = [{"id": name, "image": f"{name}.png", "crop": [0, 0, 40, 40]} for name in ("one", "two")]
    write_manifest(
        bench.folder, controls=["original", "other_crop"], trials=None, sources=boxes, images=False
    )
    before = (
        "import sabotage, fault_bench; from pathlib import Path; sabotage.when_writing('*/stimuli/*.png', "
        "lambda: fault_bench.write_image(Path('manifests/two.png'), 3), nth=1)"
    )
    bench.see(bench.run(before=before), 3, "two-other_crop", "another file than when the run began")
    bench.see_disk()
    write_image(bench.folder / "manifests" / "two.png", 2, size_px=96)
    bench.see(bench.run(), 0)


def test_source_removed_between_runs(bench, fault):
    fault(
        "source file removed",
        done="two.png removed after a finished run",
        expects="exit 2 with the file and its place in the manifest; what is there stays",
    )
    bench.see_same()
    (bench.folder / "manifests" / "two.png").unlink()
    bench.see(bench.run(), 2, "two.png", "faults.yaml:")
    assert bench.see_disk() == "6 of 6 stimuli, all described"
    write_image(bench.folder / "manifests" / "two.png", 2)
    bench.see_same()


def test_nan_in_a_source(bench, fault):
    fault(
        "NaN in a source",
        done="one pixel of a float TIFF is NaN",
        expects="exit 2 with the file, before anything is made",
    )
    pixels = np.full((40, 40), 0.5, dtype=np.float32)
    pixels[3, 5] = np.nan
    tifffile.imwrite(bench.folder / "manifests" / "nan.tif", pixels)
    write_manifest(bench.folder, sources=[{"id": "one", "image": "nan.tif"}], trials=None)
    bench.see(bench.run(), 2, "nan.tif", "not finite")
    assert not (bench.results / "stimuli").exists()
    pixels[3, 5] = 0
    tifffile.imwrite(bench.folder / "manifests" / "nan.tif", pixels)
    bench.see(bench.run(), 0)


@pytest.mark.parametrize("preset", ["multiscale", "gatys2015"])
@pytest.mark.parametrize(("scale", "what"), [("1e30", "Gram matrices"), ("1e11", "squared losses")])
def test_nan_in_synthesis(bench, fault, preset, scale, what):
    fault(
        f"{what} overflow ({preset})",
        done=f"weights of {scale}, which are finite",
        expects="exit 3: each stimulus fails with the cause; no image, no row",
    )
    register = "import fault_networks; fault_networks.register_tiny(); "
    write = f"{register}fault_networks.write_pth('manifests/net.pth', {{}})"
    command = ("weights", "import", "manifests/net.pth", "--network", "tiny", "--input", "torchvision")
    env = {"STIMGEN_CACHE": str(bench.folder / "cache")}
    ran = bench.stimgen(*command, "--name", "huge", before=write.format(scale), env=env)
    assert ran.code == 0, ran.errors
    network = {"name": "tiny", "weights": "huge", "normalise": False}
    synthesis = {"preset": "multiscale", "smallest_px": 16, "evaluations": [4, 4]}
    if preset == "gatys2015":
        synthesis = {"preset": preset, "iterations": 4}
    write_manifest(bench.folder, network=network, synthesis=synthesis, trials=None)
    ran = bench.run(before=register, env=env)
    bench.see(ran, 3, "FAILED", "finite")
    assert "weights" in (bench.results / "failures.csv").read_text()
    bench.see_disk()
    assert list((bench.results / "stimuli").iterdir()) == []
    assert "unexpected" not in (bench.results / "failures.csv").read_text()


def test_loss_becomes_nan(bench, fault):
    fault(
        "loss that is not a number, in one of two textures of a batch",
        done="the gradient pass of one texture gives NaN from its first evaluation on",
        expects="exit 3: that one fails, the other three are made",
    )
    before = """
import torch
from stimgen.texture import synthesis as module
from stimgen.runs import make
from dataclasses import replace
original = make.synthesise
def synthesise(problems, *rest, **named):
    made = original(problems, *rest, **named)
    return [replace(made[0], loss=float("nan")), *made[1:]]
make.synthesise = synthesise
"""
    ran = bench.run("--batch-size", "2", before=before)
    bench.see(ran, 3, "one-conv1_1-s1", "FAILED", "not a finite number")
    assert bench.see_disk() == "4 of 6 stimuli, all described"
    bench.see_same("--batch-size", "2")
