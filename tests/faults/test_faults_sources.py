"""Sources that change, and values that are not numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from fault_bench import bytes_of, write_image, write_manifest
from fault_networks import REGISTER

CHANGE = (
    "import sabotage, fault_bench; from pathlib import Path; sabotage.when_writing('*/stimuli/*.png', "
    "lambda: fault_bench.write_image(Path('manifests/two.png'), 3), nth={nth})"
)
ONE_LOSS_IS_NAN = """
from stimgen.runs import make
from dataclasses import replace
original = make.synthesise
def synthesise(problems, *rest, **named):
    made = original(problems, *rest, **named)
    return [replace(made[0], loss=float("nan")), *made[1:]]
make.synthesise = synthesise
"""


def test_source_changed_and_removed_between_runs(bench):
    bench.check_same()
    two = bench.folder / "manifests" / "two.png"
    write_image(two, 3)
    bench.check(bench.run(), 0, "3 made, 3 kept", "replaced")
    bench.check_disk("6 of 6")
    after = bytes_of(bench.results)
    changed = {name for name in after if name.endswith(".png") and after[name] != bench.reference[name]}
    assert changed == {f"stimuli/two-{end}.png" for end in ("original", "conv1_1-s1", "conv1_1-s2")}
    two.unlink()
    bench.check(bench.run(), 2, "two.png", "faults.yaml:")
    bench.check_disk("6 of 6")
    write_image(two, 2)
    bench.check_same()


def test_source_changed_during_a_run(bench):
    bench.check(bench.run(before=CHANGE.format(nth=4)), 0, "6 made")
    records = [json.loads(path.read_text()) for path in (bench.results / "records").glob("*.json")]
    assert len({record["source"]["sha256"] for record in records}) == 2
    assert bytes_of(bench.results) == bench.reference
    bench.check(bench.run(), 0, "3 made, 3 kept")


def test_photograph_changed_before_a_control_reads_it_again(bench):
    for name, seed in (("one", 1), ("two", 2)):
        write_image(bench.folder / "manifests" / f"{name}.png", seed, size_px=96)
    crops = [{"id": name, "image": f"{name}.png", "crop": [0, 0, 40, 40]} for name in ("one", "two")]
    controls = ["original", "other_crop"]
    write_manifest(bench.folder, controls=controls, trials=None, sources=crops, images=False)
    ended = bench.run(before=CHANGE.format(nth=1))
    bench.check(ended, 3, "two-other_crop", "another file than when the run began")
    bench.check_disk()


def test_source_with_a_pixel_that_is_nan(bench):
    pixels = np.full((40, 40), 0.5, dtype=np.float32)
    pixels[3, 5] = np.nan
    tifffile.imwrite(bench.folder / "manifests" / "nan.tif", pixels)
    write_manifest(bench.folder, sources=[{"id": "one", "image": "nan.tif"}], trials=None)
    bench.check(bench.run(), 2, "nan.tif", "not finite")
    assert not (bench.results / "stimuli").exists()


@pytest.mark.parametrize(
    ("scale", "synthesis"),
    [
        ("1e30", {"preset": "multiscale", "smallest_px": 16, "evaluations": [4, 4]}),
        ("1e11", {"preset": "gatys2015", "iterations": 4}),
    ],
    ids=["Gram matrices", "squared losses"],
)
def test_overflow_in_a_synthesis(bench, scale, synthesis):
    write = f"{REGISTER}; fault_networks.write_pth('net.pth', {scale})"
    command = ("weights", "import", "net.pth", "--network", "tiny", "--input", "torchvision")
    env = {"STIMGEN_CACHE": str(bench.folder / "cache")}
    bench.check(bench.stimgen(*command, "--name", "huge", before=write, env=env), 0)
    network = {"name": "tiny", "weights": "huge", "normalise": False}
    write_manifest(bench.folder, network=network, synthesis=synthesis, measure=None, trials=None)
    bench.check(bench.run(before=REGISTER, env=env), 3, "FAILED", "finite")
    failures = (bench.results / "failures.csv").read_text()
    assert "weights" in failures
    assert "unexpected" not in failures
    bench.check_disk()
    assert list((bench.results / "stimuli").iterdir()) == []


def test_one_loss_of_a_batch_is_nan(bench):
    ended = bench.run("--batch-size", "2", before=ONE_LOSS_IS_NAN)
    bench.check(ended, 3, "one-conv1_1-s1", "FAILED", "not a finite number")
    bench.check_disk("4 of 6")
    bench.check_same("--batch-size", "2")
