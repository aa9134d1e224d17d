"""The demonstration set of textures with real weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from decoding_images import read
from PIL import Image
from typer.testing import CliRunner

from stimgen.cli import app

ROOT = Path(__file__).parents[2]


def write(name, folder, training, test):
    command = [sys.executable, "-m", "benchmarks.decoding", name, folder]
    command += ["--training", str(training), "--test", str(test)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True)


@pytest.mark.slow
def test_textures_are_decoded_above_chance_on_every_layer(tmp_path):
    write("textures", tmp_path / "textures", 16, 10)
    command = ["decode", tmp_path / "textures" / "train", "--test", tmp_path / "textures" / "test"]
    command += ["--group-by", "^(.+)-[0-9]+$", "--network", "vgg16", "--size-px", "64", "--color", "grey"]
    command += ["--layers", "conv1_1,pool2,pool4", "--out", tmp_path / "out", "--device", "cpu"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    table = read(tmp_path / "out", "decoding").set_index("layer")
    assert (table["classes"] == 10).all()
    assert (table["test_images"] == 100).all()
    assert (table["top1_low"] > 0.4).all(), table["top1"]
    assert (table["top5_low"] > 0.75).all(), table["top5"]


def test_the_demonstration_sets_have_their_classes_and_sizes(tmp_path):
    for name, training in (("textures", 4), ("digits", 3)):
        write(name, tmp_path / name, training, 2)
        for part, count in (("train", training), ("test", 2)):
            files = sorted((tmp_path / name / part).glob("*/*.png"))
            assert len(files) == 10 * count
            assert len({path.parent.name for path in files}) == 10
            for path in files:
                with Image.open(path) as image:
                    assert (image.size, image.mode) == ((64, 64), "L")
                    if name == "textures":  # brightness and contrast tell nothing, but for what was clipped
                        pixels = np.asarray(image) / 255
                        assert pixels.mean() == pytest.approx(0.5, abs=0.05)
                        assert pixels.std() == pytest.approx(0.15, abs=0.06)
    assert not {path.name for path in (tmp_path / "digits" / "train").glob("*/*")} & {
        path.name for path in (tmp_path / "digits" / "test").glob("*/*")
    }


def test_training_and_test_crops_come_from_different_parts_of_a_photograph(monkeypatch):
    """With pixels that say where they are: no place in two bands, or in a band and in the test part."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import decoding

    places = np.arange(300 * 400, dtype=np.float64).reshape(300, 400)
    monkeypatch.setattr(decoding, "luminance", lambda pixels: places)
    monkeypatch.setattr(decoding, "crop", lambda region, rng: region)
    monkeypatch.setattr(decoding, "TEXTURES", ("brick",))
    found = dict(decoding.textures(9, 2, np.random.default_rng(1)))
    regions = {name.rpartition("-")[0]: set(region.ravel()) for name, region in found.items()}
    assert len(regions) == 4  # three bands and the test part
    assert sum(map(len, regions.values())) == len(set().union(*regions.values()))
    assert len(regions["test/brick/brick-right"]) == 300 * 140
