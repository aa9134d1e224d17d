from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from decoding_images import QUICK, feature_bytes, grating, quick_settings, read, write_gratings
from PIL import Image
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.decoding import decode as decoding
from stimgen.decoding import features as feature_module
from stimgen.decoding import settings as settings_module
from stimgen.decoding.features import feature_folder
from stimgen.decoding.settings import ImageSettings, TrainingSettings
from stimgen.networks.architectures import NETWORKS

SLOWLY = """
import time
import stimgen.decoding.features as features
from stimgen.cli import main
load = features.load_source
def slow(*arguments, **options):
    time.sleep(0.1)
    return load(*arguments, **options)
features.load_source = slow
main()
"""


def decode(*arguments):
    """Run the command with `QUICK` settings; later options override them."""
    result = CliRunner().invoke(app, ["decode", *QUICK, *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def gratings(tmp_path_factory):
    """40 gratings of each orientation."""
    folder = tmp_path_factory.mktemp("images") / "gratings"
    write_gratings(folder, 40)
    return folder


@pytest.fixture(scope="module")
def finished(gratings, tmp_path_factory):
    """The results of the gratings; copy them before changing them."""
    out = tmp_path_factory.mktemp("results") / "gratings"
    result = decode(gratings, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_orientations_are_decoded_above_chance(finished):
    table = read(finished, "decoding")
    assert list(table["layer"]) == ["conv1_1", "pool1"]
    assert list(table["parameters"]) == [64 * 65 // 2] * 2
    counts = table[["classes", "training_images", "validation_images", "test_images"]]
    assert counts.to_numpy().tolist() == [[2, 46, 14, 20]] * 2
    assert (table["top1_low"] > 0.8).all()
    assert (table["chance_top1"] == 0.5).all()
    assert table[["top5", "top5_low", "top5_high", "chance_top5", "components"]].isna().to_numpy().all()
    images, failures = read(finished, "images"), read(finished, "failures")
    assert images["part"].value_counts().to_dict() == {"training": 46, "test": 20, "validation": 14}
    assert len(failures) == 0
    for layer, predictions in read(finished, "predictions").groupby("layer"):
        right = predictions["rank"] == 1
        assert sorted(predictions["file"]) == sorted(images["file"][images["part"] == "test"])
        assert (right == (predictions["predicted"] == predictions["class"])).all()
        assert right.mean() == table.set_index("layer").loc[layer, "top1"]


def test_figure_and_summary_are_written(gratings, finished):
    with Image.open(finished / "decoding.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    summary = json.loads((finished / "decode.json").read_text())
    settings = quick_settings(gratings)
    assert summary["settings"]["network"] == settings.network.model_dump()
    assert summary["settings"]["training"] == vars(settings.training)
    assert summary["settings"]["image"] == {"size_px": 24, "color": "grey"}
    assert summary["bytes_per_image"] == {"conv1_1": 8320, "pool1": 8320}
    assert {"scikit-learn", "matplotlib", "torch"} <= set(summary["versions"])
    assert len(summary["weights"]["tensors_sha256"]) == 64
    assert summary["extraction"]["images"] == 80 - 32  # the first batch is not measured
    million = summary["per_million_images"]
    measured = summary["extraction"]["seconds"] / 48
    assert million["extraction_hours"] == pytest.approx(1e6 * measured / 3600)
    assert million["disk_gb"] == pytest.approx(2 * 8.32)
    epoch = summary["training"]["pool1"]["epoch_seconds"]
    # Two classes need one classifier.
    assert million["layers"][1]["epoch_hours_1000_classes"] == pytest.approx(1000 * 1e6 * epoch / 3600)


def test_same_command_computes_nothing_again(gratings, finished, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "out")
    before = files(out)
    for name in ("features.gram_matrices", "decode.decode_layer", "dataset.read_image"):
        monkeypatch.setattr(f"stimgen.decoding.{name}", None)
    result = decode(gratings, "--out", out, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert files(out) == before


def test_killed_command_resumes_with_same_bytes(tmp_path):
    write_gratings(tmp_path / "images", 20)
    options = [tmp_path / "images", "--batch-size", "4", "--out"]
    assert decode(*options, tmp_path / "whole").exit_code == 0
    out = tmp_path / "killed"
    killed = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, "decode", *QUICK, *map(str, options), str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # the number of threads changes the last bits of sums
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    done: list[bytes] = []
    while len(b"".join(done)) < 8 * 65 and killed.poll() is None:
        time.sleep(0.01)
        done = [path.read_bytes() for path in out.glob("features/*/images.txt")]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 8 * 65 <= len(done[0]) < 40 * 65
    assert not (out / "decoding.csv").exists()

    assert decode(*options, out).exit_code == 0
    (index,) = out.glob("features/*/images.txt")
    assert index.read_bytes().startswith(done[0])
    assert feature_bytes(out / "features") == feature_bytes(tmp_path / "whole" / "features")
    assert read(out, "decoding").equals(read(tmp_path / "whole", "decoding"))


def test_folder_of_features_depends_on_every_setting(gratings, tmp_path):
    usual = quick_settings(gratings)
    network = usual.network
    changes = [
        {},
        {"network": network.model_copy(update={"pooling": "max"})},
        {"network": network.model_copy(update={"padding": "zeros"})},
        {"network": network.model_copy(update={"normalise": True})},
        {"network": network.model_copy(update={"weights": "random:4"})},
        {"image": ImageSettings(20, "grey")},
        {"image": ImageSettings(24, "rgb")},
        {"layers": ("pool1",)},
    ]

    def name(settings):
        weights = decoding.find_weights(settings.network.name, settings.network.weights)
        return feature_folder(tmp_path, settings, weights, NETWORKS["vgg16"]()).path.name

    names = {name(replace(usual, **change)) for change in changes}
    assert len(names) == len(changes)
    # Settings that features do not depend on.
    assert name(replace(usual, layers=("pool1", "conv1_1"), batch_size=7, test_share=0.5)) == name(usual)
    assert name(replace(usual, training=TrainingSettings(12, seed=2))) == name(usual)


def test_new_image_is_appended_and_folder_name_need_not_be_utf8(gratings, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    images = shutil.copytree(gratings, tmp_path / os.fsdecode(b"caf\xe9"))
    Image.fromarray(grating("vertical", np.random.default_rng(77))).save(images / "vertical" / "0050.png")
    before = feature_bytes(out / "features")
    assert decode(images, "--out", out).exit_code == 0
    after = feature_bytes(out / "features")
    (lines,) = (name for name in before if name.endswith("images.txt"))
    assert len(after[lines]) == len(before[lines]) + 65
    for name, content in before.items():
        assert after[name].startswith(content)
    assert "0050.png" in (out / "images.csv").read_text()
    assert json.loads((out / "decode.json").read_text())["settings"]["folder"] == str(images)


def test_bad_images_are_left_out_until_they_are_mended(gratings, tmp_path):
    images, out = shutil.copytree(gratings, tmp_path / "images"), tmp_path / "out"
    (images / "vertical" / "empty.png").write_bytes(b"")
    (images / "vertical" / "text.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((9, 30), np.uint8)).save(images / "horizontal" / "small.png")
    cut = (images / "horizontal" / "0000.png").read_bytes()
    (images / "horizontal" / "0000.png").write_bytes(cut[: len(cut) // 2])
    result = decode(images, "--out", out)
    assert result.exit_code == 3
    failures = read(out, "failures").set_index("file")
    names = {path.rpartition("/")[2] for path in failures.index}
    assert names == {"empty.png", "text.png", "small.png", "0000.png"}
    small = failures.loc[str(images / "horizontal" / "small.png")]
    assert "has a side of 9 px" in small["error"]
    assert "--size-px 9" in small["cure"]
    assert failures["cure"].notna().all()
    assert "4 images were left out" in result.output
    assert read(out, "decoding")["test_images"].tolist() == [20, 20]
    for path in ("vertical/empty.png", "vertical/text.png", "horizontal/small.png"):
        (images / path).unlink()
    shutil.copy(gratings / "horizontal" / "0000.png", images / "horizontal")
    assert decode(images, "--out", out).exit_code == 0
    assert len(read(out, "failures")) == 0
    assert len(read(out, "images")) == 80


def test_image_that_changes_meanwhile_is_left_out(gratings, tmp_path, monkeypatch):
    images, out = shutil.copytree(gratings, tmp_path / "images"), tmp_path / "out"
    changed, removed = images / "vertical" / "0041.png", images / "horizontal" / "0001.png"
    original = feature_module._read_ahead

    def meddle(*arguments):
        shutil.copy(gratings / "vertical" / "0042.png", changed)
        removed.unlink()
        return original(*arguments)

    monkeypatch.setattr(feature_module, "_read_ahead", meddle)
    assert decode(images, "--out", out).exit_code == 3
    failures = read(out, "failures").set_index("file")["error"]
    assert "changed while" in failures[str(changed)]
    assert "There is no file" in failures[str(removed)]
    assert len(read(out, "images")) == 78


def test_copies_of_test_images_are_left_out_of_training(gratings, tmp_path):
    write_gratings(tmp_path / "test", 6, seed=9)
    images = shutil.copytree(gratings, tmp_path / "images")
    # The same pixels in other bytes.
    with Image.open(tmp_path / "test" / "vertical" / "0006.png") as picture:
        picture.convert("RGB").save(images / "vertical" / "twin.tif")
    result = decode(images, "--test", tmp_path / "test", "--out", tmp_path / "out")
    assert result.exit_code == 3
    table = read(tmp_path / "out", "images")
    of_test = table[table["part"] == "test"]
    assert of_test["file"].str.startswith(str(tmp_path / "test")).all()
    assert len(of_test) == 12
    assert not set(of_test["sha256"]) & set(table[table["part"] != "test"]["sha256"])
    (twin,) = read(tmp_path / "out", "failures")["error"]
    assert "twin.tif is also in the test folder" in twin


def test_features_can_be_shared_by_several_results(gratings, finished, tmp_path, monkeypatch):
    features = shutil.copytree(finished / "features", tmp_path / "features")
    monkeypatch.setattr(feature_module, "gram_matrices", None)
    options = ["--features", features, "--components", "12"]
    assert decode(gratings, "--out", tmp_path / "out", *options).exit_code == 0
    assert not (tmp_path / "out" / "features").exists()
    assert read(tmp_path / "out", "decoding")["components"].tolist() == [12, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--color", "red"], 'Unknown colour "red"'),
        (["--pooling", "maximum"], 'Unknown pooling "maximum"'),
        (["--test-share", "1"], "--test-share 1: expected a share above 0 and below 1"),
        (["--validation-share", "0"], "--validation-share 0: expected a share above 0"),
        (["--layers", "pool1,pool1"], "pool1 is given twice"),
        (["--layers", "pool_1"], 'Did you mean "pool1"'),
        (["--layers", "pool5"], "too small for layer pool5"),
        (["--components", "47"], "there are only 46 training images"),
        (["--network", "vgg99"], 'Unknown network "vgg99"'),
        (["--group-by", "[a-z]"], "finds no group"),
        (["--group-by", "^00"], "part has no images of"),
        (["--features", "OUT"], "is --out and --features"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_before_features_are_made(gratings, tmp_path, arguments, message):
    out = str(tmp_path / "out")
    result = decode(gratings, "--out", out, *(out if word == "OUT" else word for word in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not list(tmp_path.glob("out/features/*/*.f32"))


def test_results_are_not_written_among_other_files_or_without_packages(gratings, tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("everything")
    result = decode(gratings, "--out", tmp_path)
    assert result.exit_code == 2
    assert "is not empty and holds no results of stimgen decode" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    for options in (["--out", gratings / "new"], ["--out", tmp_path / "out", "--features", gratings / "new"]):
        result = decode(gratings, *options)
        assert result.exit_code == 2
        assert "would be taken for a class" in result.output
    assert not (gratings / "new").exists()
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None if name == "sklearn" else True)
    result = decode(gratings, "--out", tmp_path / "out")
    assert result.exit_code == 4
    assert "stimgen decode needs scikit-learn." in result.output
    assert "pip install 'stimgen[decode]'" in result.output
    assert not (tmp_path / "out").exists()
