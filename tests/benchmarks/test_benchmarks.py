"""Each benchmark runs on a small problem and prints its table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from benchmarks import copying, driver, gpu, large, normalised, pictures, synthesis, workers
from benchmarks.paper import summary
from stimgen.manifest.load import load_manifest
from stimgen.networks.photographs import PHOTOGRAPHS
from stimgen.runs.runner import run

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_copying(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    manifest = yaml.safe_load(Path(copying.__file__).with_suffix(".yaml").read_text("utf-8"))
    manifest["sources"] = [source for source in manifest["sources"] if source["id"] == "gravel_detail"]
    manifest |= {"network": {"name": "vgg16", "normalise": False}, "layer_sets": {"pool4": ["conv1_1"]}}
    manifest |= {"seeds": [1], "synthesis": {"preset": "multiscale", "evaluations": [2]}}
    manifest |= {"controls": ["phase_scrambled", "block_shuffled"]}
    (tmp_path / "copying.yaml").write_text(yaml.safe_dump(manifest), "utf-8")
    folder = run(load_manifest(tmp_path / "copying.yaml"), device="cpu").folder
    copying.main([str(folder), "--random", "1"])
    _, baseline, _, _, *rows = capsys.readouterr().out.splitlines()
    assert baseline.startswith("gravel_detail ")
    counts = {row[:32].strip(): row.split()[-3:] for row in rows}
    for kind in ("block_shuffled", "shifted copy", "shifted, half contrast", "one block of 64 px, SD 0.02"):
        assert counts[kind] == ["1", "of", "1"], kind
    for kind in ("pool4", "phase_scrambled"):
        assert counts[kind] == ["0", "of", "1"], kind
    for kind in ("other crop of the photograph", "noise, blurred by 4 px"):
        assert counts[kind] == ["0", "of", "2"], kind


def test_driver_fits_a_line():
    costs = [(100, batches, 0.5 * batches + 0.02 * 100) for batches in (100, 25, 7)]
    assert driver.line(costs) == pytest.approx((0.5, 0.02))


@pytest.mark.slow
def test_driver(capsys):
    driver.main(["--stimuli", "50", "--asleep", "50"])
    _, _, *rows, last, asleep = capsys.readouterr().out.splitlines()
    assert [tuple(map(int, row.split()[:2])) for row in rows] == [(50, 50), (50, 13), (50, 4)]
    assert last.endswith("ms per stimulus")
    assert "of sleep each" in asleep


@pytest.mark.slow
def test_gpu_benchmark_on_a_cpu(capsys, tmp_path):
    arguments = ["--device", "cpu", "--no-tests", "--size", "64", "--large", "96", "--batches", "1,2"]
    arguments += ["--budgets", "1,40", "--target", "0.01", "--few", "3", "--iterations", "150"]
    arguments += ["--product", "64"]
    gpu.main([*arguments, "--sources", "gravel", "--out", str(tmp_path / "gpu.txt")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == (tmp_path / "gpu.txt").read_text("utf-8").splitlines()
    header, *rows = (line.split() for line in lines if line.startswith(("source ", "gravel    ")))
    *batches, published = rows
    for size, row in zip((1, 2), batches, strict=True):
        cells = dict(zip([*header[:4], "loss", *header[6:]], row, strict=True))
        assert (int(cells["batch"]), cells["budget"]) == (size, "40")
        assert float(cells["loss"]) <= 0.01
        assert min(float(cells["stimuli/s"]), float(cells["memory_GB"])) > 0
    assert published[1] == "gatys2015:"
    assert published[-1] == "stimuli/s"
    assert any(line.startswith("96 px, 3 evaluations") for line in lines)
    assert any("0.0e+00 of Gram distances" in line for line in lines)
    shares = [float(share) / 100 for share in re.findall(r"([-\d.]+)%", lines[-1])]
    assert len(shares) == 5
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert min(shares[:3]) > 0
    gpu.main([*arguments, "--seconds", "-1"])
    assert capsys.readouterr().out.count("left out after") == 5


@pytest.mark.slow
def test_large(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(large, "SOURCES", 1)
    large.main(["--stimuli", "5", "10", "--planned", "20", "--out", str(tmp_path / "large.txt")])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "large.txt").read_text("utf-8")
    *_, last, only_planned = printed.splitlines()
    numbers = [float(number) for number in re.findall(r"[\d.]+", last)]
    assert len(numbers) == 1 + 2 * 6 + 2
    assert min(numbers[1:13]) > 0
    assert re.fullmatch(r" +20( +[\d.]+){4}( +-){8}", only_planned)


@pytest.mark.slow
def test_normalised(capsys):
    normalised.main(["--only-random", "--networks", "alexnet random:0"])
    row, last = capsys.readouterr().out.splitlines()
    name, share = row.strip("| ").split(" | ")
    assert name == "alexnet random:0"
    assert 0.3 < float(share) < 0.5
    assert last == "normalised from 0.55 on"
    assert not set(normalised.OTHERS) & set(PHOTOGRAPHS)


def test_paper_averages_distances_over_matched_and_held_out_layers(tmp_path):
    shared = {"source": "brick", "size_px": 128, "network": "vgg16", "weights": "imagenet"}
    shared |= {"measured_in": "vgg16 imagenet mirrored", "residual_gram": 0.01}
    texture = {"stimulus_id": "brick-a-s1", "condition": "a", "kind": "texture", "seed": 1, "parameters": 20}
    original = {"stimulus_id": "brick-original", "condition": "original", "kind": "control"}
    pd.DataFrame([texture | shared, original | shared]).to_csv(tmp_path / "stimuli.csv", index=False)
    values = {"conv1_1": 0.1, "pool4": 0.3, "conv1_2": 0.5, "conv4_1": 0.9}
    stages = [("brick-a-s1", "file", 1), ("brick-a-s1", "optimised", 2), ("brick-original", "file", 3)]
    distances = [
        {"stimulus_id": name, "stage": stage, "layer": layer, "gram_relative": value * factor}
        for name, stage, factor in stages
        for layer, value in values.items()
    ]
    pd.DataFrame(distances).to_csv(tmp_path / "gram_distances.csv", index=False)
    (row,) = summary(tmp_path).to_dict("records")
    assert row["matched_layers"] == pytest.approx(0.2)
    assert row["held_out_layers"] == pytest.approx(0.7)
    assert (row["condition"], row["seed"], row["parameters"]) == ("a", 1, 20)


@pytest.mark.slow
def test_scaling():
    command = [sys.executable, "-m", "benchmarks.scaling", "--sizes", "64,32", "--batches", "1,2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    _, precision, header, *rows = done.stdout.splitlines()
    assert precision == "convolutions in float32"
    table = [dict(zip(header.split(), row.split(), strict=True)) for row in rows]
    assert [(row["size_px"], row["batch"]) for row in table] == [("64", "1"), ("32", "1"), ("64", "2")]
    assert all(float(row["s/evaluation"]) > 0 for row in table)
    assert all(float(row["process_GB"]) > 0.1 for row in table)


@pytest.mark.slow
def test_synthesis(capsys):
    arguments = ["--sources", "gravel", "--size", "64", "--targets", "0.5,0.1", "--budgets", "5,40"]
    arguments += ["--repeats", "2", "--iterations", "60", "--preset", '{"evaluations": [1]}']
    synthesis.main(arguments)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("gravel ")]
    assert [float(row[1]) for row in rows] == [0.5, 0.1]
    for row in rows:
        published, published_s, ours, ours_s, ratio, loss = (float(cell) for cell in row[2:8])
        assert min(ratio, published_s, ours_s) > 0
        assert loss <= float(row[1])
        assert published > 1
        assert ours >= 5


@pytest.mark.slow
def test_pictures(tmp_path):
    out = tmp_path / "grid.png"
    pictures.main(["--sources", "gravel", "--size", "32", "--iterations", "3", "--out", str(out)])
    grid = np.asarray(Image.open(out))
    assert grid.shape == (32, 3 * 32 + 2 * pictures.GAP_PX)
    assert (grid[:, :32] == np.rint(255 * synthesis.source("gravel", 32)).astype(np.uint8)).all()


@pytest.mark.slow
def test_workers(capsys, monkeypatch):
    # One thread each: two that share busy cores wait for each other most of the time.
    monkeypatch.setattr(workers, "WAYS", {way: (1, options) for way, (_, options) in workers.WAYS.items()})
    workers.main(["--size", "32", "--seeds", "1", "--repeats", "1"])
    _, problem, _, *rows = capsys.readouterr().out.splitlines()
    assert problem.startswith("2 textures of 32 px")
    assert [row[:30].strip() for row in rows] == [
        "one worker, one thread",
        "two workers, one thread each",
        "one process, two threads",
    ]
    assert all(float(row.split()[-4]) > float(row.split()[-3]) > 0 for row in rows)
