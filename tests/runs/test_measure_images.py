from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from png_bytes import GREY, png_bytes
from run_manifests import stimgen

from stimgen.errors import InputError
from stimgen.images.read import read_image
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.columns import IMAGES, STIMULI
from stimgen.runs.csv_files import in_order
from stimgen.runs.measure_images import GramMeasurement, measure_images

VGG16 = GramMeasurement(NetworkSpec(name="vgg16", normalise=False), ("conv1_1", "pool1"), torch.device("cpu"))


def save(folder, name, pixels):
    Image.fromarray(np.round(255 * pixels).astype(np.uint8)).save(folder / name)
    return str(folder / name)


@pytest.fixture
def source(tmp_path):
    return save(tmp_path, "source.png", read_image("skimage:brick").pixels[:96, :96])


def test_stimuli_of_a_run_measure_as_in_its_table(finished):
    table = pd.read_csv(finished.path / "stimuli.csv")
    # A source that no file holds as it was (it has more than 8 bits) is told apart by its statistics.
    original = table.set_index("condition").loc["original"]
    names = [str(finished.path / filename) for filename in table["filename"]]
    measured = measure_images(
        names, source=str(finished.path / original["filename"]), gram=VGG16, ppd=table["ppd"][0]
    )
    alone = [column.name for column in IMAGES if column in STIMULI and column.always]
    compared = {"histogram_w1", "amplitude_error", "radial_error_db", "copied"}
    for column in alone:
        if column not in compared and not column.startswith(("copying", "gram")):
            same = measured[column].astype(table[column].dtype)  # None and NaN are both an empty cell
            np.testing.assert_array_equal(same.to_numpy(), table[column].to_numpy(), column)
    for column in ("amplitude_error", "gram_relative_conv1_1", "gram_relative_pool1"):
        np.testing.assert_allclose(measured[column], table[column], atol=0.02)


def test_images_of_another_size_leave_out_what_cannot_be_compared(tmp_path, source):
    smaller = save(tmp_path, "smaller.png", read_image(source).pixels[:70, :80])
    (row,) = measure_images([smaller], source=source, gram=VGG16).to_dict("records")
    assert (row["width_px"], row["height_px"]) == (80, 70)
    assert row["histogram_w1"] is row["amplitude_error"] is row["radial_error_db"] is None
    assert row["copying_32"] == pytest.approx(1)
    assert 0 < row["gram_relative_pool1"] < 0.2


def test_without_a_source_there_are_no_distances(source):
    table, dictionary = in_order("images", measure_images([source, "skimage:coffee"]))
    assert list(table["color"]) == ["grey", "rgb"]
    assert not [column for column in table if column.startswith(("gram", "copying", "ps_"))]
    assert set(dictionary) == set(table)
    assert table["histogram_w1"].isna().all()


@pytest.mark.parametrize("wanted", [{"gram": VGG16}, {"portilla_simoncelli": True}])
def test_a_distance_needs_a_source(source, wanted):
    with pytest.raises(InputError, match="distance from a source"):
        measure_images([source], **wanted)


def test_unsuitable_images_are_named_before_anything_is_measured(tmp_path, monkeypatch):
    brick = read_image("skimage:brick").pixels
    source, larger = (save(tmp_path, f"{side}.png", brick[:side, :side]) for side in (128, 160))
    small = save(tmp_path, "small.png", brick[:8, :8])
    monkeypatch.setattr("stimgen.runs.measure_images.measure", None)
    deep = GramMeasurement(VGG16.network, ("pool4",), VGG16.device)
    with pytest.raises(InputError) as caught:
        measure_images([larger, small, "gone.png"], source=source, gram=deep, portilla_simoncelli=True)
    for words in (
        "160.png is 160 × 160 px and the source has another size",
        "small.png is 8 × 8",
        "gone.png",
    ):
        assert words in str(caught.value)


def test_the_command_writes_a_table_with_its_dictionary(tmp_path, source):
    out = tmp_path / "statistics.csv"
    result = stimgen("stats", source, "--source", source, "--no-gram", "--ppd", "41", "--out", out)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert set(json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))) == set(table)
    assert table["histogram_w1"][0] == 0
    assert table["spectral_slope_high_cpd"][0] == pytest.approx(24 * 41 / 96)


def test_the_command_says_that_distances_across_sizes_contain_the_border(tmp_path, source):
    smaller = save(tmp_path, "smaller.png", read_image(source).pixels[:70, :80])
    gram = ["--source", source, "--network", "vgg16", "--weights", "random", "--layers", "conv1_1"]
    result = stimgen("stats", source, smaller, *gram, "--out", tmp_path / "table.csv")
    assert "1 of 2 images have another size than the source" in result.output
    same = stimgen("stats", source, *gram, "--padding", "zeros", "--out", tmp_path / "table.csv")
    assert (same.exit_code, "another size" in same.output) == (0, False)
    assert set(pd.read_csv(tmp_path / "table.csv")["padding"]) == {"zeros"}


def test_white_and_coding_are_of_all_images(tmp_path):
    """A camera's 12 bits in 16, nearly black without its white; sRGB by the formula of IEC 61966-2-1."""
    samples = np.random.default_rng(1).integers(0, 4096, (24, 24), dtype=np.uint16)
    path, out = tmp_path / "twelve.png", tmp_path / "table.csv"
    path.write_bytes(png_bytes(samples, GREY, 16))
    refused = stimgen("stats", path)
    assert refused.exit_code == 2
    assert "--white 4095" in refused.stderr
    options = ["--white", 4095, "--linearise", "srgb", "--no-gram", "--out", out]
    done = stimgen("stats", path, "--source", path, *options)
    assert done.exit_code == 0, done.output
    coded = samples / 4095
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    table = pd.read_csv(out)
    assert table["luminance_mean"][0] == pytest.approx(light.mean(), rel=1e-6)
    assert table["histogram_w1"][0] == 0
    above = stimgen("stats", path, "--white", 1000)
    assert "above white" in above.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--linearise", "gamma"], "is not one of"),
        (["--ppd", "0"], "above 0"),
        (["--out", "table.json"], "ends in .csv"),
        (["--out", "nowhere/table.csv"], "folder that exists"),
        (["--pooling", "median"], "Unknown pooling"),
        (["--padding", "zero"], "Unknown padding"),
        (["--source", "skimage:brick", "--network", "vgg16", "--layers", "pool9"], "pool9"),
        (["--portilla-simoncelli"], "--source"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(source, options, words):
    result = stimgen("stats", source, *options)
    assert result.exit_code == 2
    assert words in result.stderr
