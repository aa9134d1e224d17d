"""The demonstration sets of the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decoding_images import read
from PIL import Image
from typer.testing import CliRunner

from stimgen.cli import app


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from benchmarks import decoding

    return decoding


@pytest.mark.slow
def test_textures_are_decoded_above_chance_on_every_layer(benchmark, tmp_path):
    """With real weights."""
    benchmark.main(["textures", str(tmp_path / "textures"), "--training", "16", "--test", "10"])
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


@pytest.mark.parametrize("name", ["textures", "digits"])
def test_demonstration_sets_are_ten_classes_of_small_grey_images(benchmark, tmp_path, name):
    benchmark.main([name, str(tmp_path), "--training", "4", "--test", "2"])
    train, test = (sorted((tmp_path / part).glob("*/*.png")) for part in ("train", "test"))
    assert (len(train), len(test)) == (40, 20)
    assert len({path.parent.name for path in train}) == len({path.parent.name for path in test}) == 10
    assert not {path.name for path in train} & {path.name for path in test}
    for path in train:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((64, 64), "L")
            if name == "textures":  # mean and contrast are the same, except for clipped pixels
                assert np.mean(image) / 255 == pytest.approx(0.5, abs=0.05)
                assert np.std(image) / 255 == pytest.approx(0.15, abs=0.06)


def test_training_and_test_crops_come_from_different_parts_of_a_photograph(benchmark, monkeypatch):
    """With pixels that are their own place: no place is in two bands, or in a band and in the test part."""
    places = np.arange(300 * 400, dtype=np.float64).reshape(300, 400)
    monkeypatch.setattr(benchmark, "luminance", lambda pixels: places)
    monkeypatch.setattr(benchmark, "crop", lambda region, rng: region)
    monkeypatch.setattr(benchmark, "TEXTURES", ("brick",))
    found = dict(benchmark.textures(9, 2, np.random.default_rng(1)))
    regions = {name.rpartition("-")[0]: set(region.ravel()) for name, region in found.items()}
    assert len(regions) == 4  # three bands and the test part
    assert sum(map(len, regions.values())) == len(set().union(*regions.values()))
    assert len(regions["test/brick/brick-right"]) == 300 * 140
