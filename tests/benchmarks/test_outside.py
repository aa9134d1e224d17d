"""The network that judges stimgen from outside against stimgen's own, and a small race."""

from __future__ import annotations

import json
import subprocess
import tempfile
from argparse import Namespace

import numpy as np
import pytest
import torch

from benchmarks import outside, published
from benchmarks.synthesis import source
from stimgen.networks.extractor import build_extractor, mean_activations, rescale_channels
from stimgen.networks.weights import find_weights

LAYERS = ["conv1_1", "pool1", "conv2_2", "pool4"]


@pytest.mark.parametrize("padding", ["mirrored", "zeros"])
def test_network_of_the_judge_has_the_features_of_stimgen(padding):
    weights = find_weights("vgg16", "random")
    images = torch.cat([published.read(name, 64, "rgb") for name in ("brick", "moon", "ihc", "cell")])
    network = published.Vgg16(weights, padding)
    network.normalise(images)
    extractor = build_extractor(weights, padding=padding, normalise=False)
    pixels = [image.permute(1, 2, 0).numpy() for image in images]
    extractor = rescale_channels(extractor, mean_activations(extractor, pixels))
    photograph = published.read("coffee", 64, "rgb")
    features = extractor.features(photograph, LAYERS)
    for layer, maps in network.maps(photograph, LAYERS).items():
        assert (maps - features[layer]).norm() < 1e-4 * features[layer].norm(), layer


def test_loss_of_the_judge_is_the_sum_of_the_paper():
    network = published.Vgg16(find_weights("vgg16", "random"), "mirrored")
    texture, image = published.read("gravel", 48, "grey"), torch.rand(1, 1, 48, 48)
    total = 0.0
    for layer in LAYERS:
        grams = []
        for pixels in (image, texture):
            maps = network.maps(pixels, LAYERS)[layer][0].double().numpy()
            grams.append(np.einsum("ipq,jpq->ij", maps, maps))
        filters, positions = len(maps), maps[0].size
        total += ((grams[0] - grams[1]) ** 2).sum() / (4 * filters**2 * positions**2)
    assert published.Judge(network, texture, LAYERS).loss(image).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("name", ["brick:rgb", "coffee:grey", "motorcycle_left:rgb"])
def test_sources_of_the_judge_are_those_of_stimgen(name):
    plain, _, colour = name.partition(":")
    pixels = published.read(plain, 100, colour)[0].permute(1, 2, 0).squeeze().numpy()
    np.testing.assert_allclose(pixels, source(name, 100), atol=1e-6)


def test_a_revision_without_padding_gets_none(tmp_path):
    schema = tmp_path / "stimgen" / "manifest" / "schema.py"
    schema.parent.mkdir(parents=True)
    options = Namespace(size=64, layers="conv1_1,pool1")
    for known, network in [("", {}), ("    padding: Literal", {"padding": "mirrored"})]:
        schema.write_text(known, "utf-8")
        manifest = outside.Job(tmp_path, "brick:rgb", options, "mirrored").manifest()
        assert manifest["network"] == {"name": "vgg16"} | network


@pytest.mark.slow
def test_outside(tmp_path, capsys, monkeypatch):
    arguments = ["--size", "64", "--layers", "conv1_1,pool1", "--sources", "coffee:rgb"]
    arguments += ["--revisions", "HEAD", "--repeats", "1", "--iterations", "30", "--budgets", "1,100"]
    arguments += ["--published", str(tmp_path / "curves.json"), "--out", str(tmp_path / "outside.txt")]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    outside.main(arguments)
    worktrees = subprocess.check_output(["git", "-C", str(outside.ROOT), "worktree", "list"], text=True)
    assert str(tmp_path) not in worktrees
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "outside.txt").read_text("utf-8")
    *_, header, own, of_head = printed.splitlines()
    assert header.startswith("source ")
    for row in (own, of_head):
        made, *_ = row.split("|")
        assert made.split()[:2] == ["coffee:rgb", "photo"]
        seconds, megabytes, loss = map(float, made.split()[-3:])
        assert min(seconds - 1, megabytes - 100, loss) > 0
    # Thirty iterations do not get there.
    more, evaluations, *_ = own.split("|")[1].split()
    assert more == ">"
    assert int(evaluations) >= 30
    assert of_head.split("|")[1].split() == ["-"] * 3
    assert of_head.split("|")[2].split()[0] == "100"
    curves = json.loads((tmp_path / "curves.json").read_text("utf-8"))
    assert len(curves["curves"]) == 1
    (tmp_path / "curves.json").write_text(json.dumps(curves | {"processor": "another"}), "utf-8")
    with pytest.raises(SystemExit, match="another"):
        outside.main(arguments)


def test_published_procedure_stops_at_a_loss():
    network = published.Vgg16(find_weights("vgg16", "random"), "zeros")
    judge = published.Judge(network, published.read("gravel", 32, "grey"), ["conv1_1"])
    all_of_it = published.published(judge, 30, -1.0)["losses"]
    lowest = sorted(all_of_it)[len(all_of_it) // 2]
    stopped = published.published(judge, 30, lowest)["losses"]
    assert stopped == all_of_it[: len(stopped)]
    assert len(stopped) < len(all_of_it)
    assert stopped[-1] <= lowest
    assert all_of_it[-1] < all_of_it[0] / 100
