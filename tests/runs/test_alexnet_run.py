from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from run_manifests import stimgen, tiny

from stimgen.images.read import read_image
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.weights import random_weights
from stimgen.runs.batches import measured_layers
from stimgen.runs.record import Record
from stimgen.runs.runner import run

LAYERS = ["conv1", "pool1", "pool2", "conv3", "conv4"]
CHANGES = {
    "image": {"size_px": 64, "color": "rgb"},
    "sources": [{"id": "cat", "image": "skimage:chelsea"}],
    "layer_sets": {"conv1": ["conv1"], "conv4": LAYERS},
    "seeds": [1],
    "controls": ["phase_scrambled"],
    "synthesis": {"preset": "multiscale", "smallest_px": 32, "evaluations": [5, 5]},
}


def records_of(result):
    paths = sorted((result.folder / "records").glob("*.json"))
    return {path.stem: Record.model_validate_json(path.read_bytes()) for path in paths}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with the shapes of torchvision's, which the catalogue knows by its SHA-256."""
    weights, tensors = random_weights("alexnet", 4), {}
    for place, kernel, bias in zip((0, 3, 6, 8, 10), weights.kernels, weights.biases, strict=True):
        tensors |= {f"features.{place}.weight": kernel, f"features.{place}.bias": bias}
    path = tmp_path / "manifests" / "alexnet.pth"
    path.parent.mkdir()
    torch.save(tensors, path)
    alexnet = NETWORKS["alexnet"]()
    entry = replace(alexnet.weights[0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(NETWORKS._entries, "alexnet", lambda: replace(alexnet, weights=(entry,)))
    return path


def test_a_manifest_with_a_file_of_alexnet_runs(tmp_path, file):
    synthesis = CHANGES["synthesis"] | {"evaluations": [40, 40]}
    network = {"name": "alexnet", "weights": file.name}
    manifest = tiny(tmp_path, **(CHANGES | {"network": network, "synthesis": synthesis}))
    result = run(manifest)
    assert (result.made, result.failures) == (3, ())
    records = records_of(result)
    for record in records.values():
        network = record.network
        assert (network.name, network.weights, network.input) == ("alexnet", "alexnet.pth", "torchvision")
        assert network.tensors_sha256 == random_weights("alexnet", 4).tensors_sha256
        assert (network.normalise, network.weights_normalised) == (True, False)
        assert [d.layer for d in record.distances if d.stage == "file"] == LAYERS
    (deep,) = (record for record in records.values() if record.condition == "conv4")
    assert all(stage.losses[-1] < stage.losses[0] for stage in deep.synthesis.traces)
    assert [stage.layers for stage in deep.synthesis.traces if stage.size_px == 32] == [("conv1", "pool1")]
    table = pd.read_csv(result.folder / "stimuli.csv").set_index("condition")
    distances = table[[f"gram_relative_{layer}" for layer in LAYERS]]
    assert distances.loc["conv4"].mean() < 0.6 * distances.loc["phase_scrambled"].mean()
    assert run(manifest).kept == 3


def test_controls_alone_are_measured_on_the_default_layers_that_fit(tmp_path):
    changes = CHANGES | {"layer_sets": None, "network": {"name": "alexnet", "weights": "random:1"}}
    manifest = tiny(tmp_path, **changes)
    assert measured_layers(manifest, manifest.network) == tuple(LAYERS)
    for size_px, layers in (30, ("conv1", "pool1")), (46, ("conv1", "pool1", "pool2")):
        small = tiny(tmp_path, **(changes | {"image": {"size_px": size_px}}))
        assert measured_layers(small, small.network) == layers
    smallest = tiny(tmp_path, **(changes | {"image": {"size_px": 47}}))
    assert measured_layers(smallest, smallest.network) == tuple(LAYERS)
    result = run(tiny(tmp_path, **(changes | {"image": {"size_px": 60}})))
    (record,) = records_of(result).values()
    assert [distance.layer for distance in record.distances if distance.stage == "file"] == LAYERS
    # Halves of 60 px have no position of pool2: no floor, which is said and not guessed.
    floors = [record.statistics[f"gram_floor_{layer}"] for layer in LAYERS]
    assert [floor is None for floor in floors] == [False, False, True, True, True]


def test_stats_measures_the_default_layers_of_the_network(tmp_path):
    image = str(tmp_path / "cat.png")
    pixels = np.round(255 * read_image("skimage:chelsea").pixels[100:164, 100:164]).astype(np.uint8)
    Image.fromarray(pixels).save(image)
    options = ["--source", image, "--no-normalise", "--device", "cpu"]
    for network, layers in (("alexnet", LAYERS), ("vgg16", ["conv1_1", "pool1", "pool2", "pool3", "pool4"])):
        out = tmp_path / f"{network}.csv"
        result = stimgen("stats", image, *options, "--network", network, "--weights", "random", "--out", out)
        assert result.exit_code == 0, result.output
        columns = [name for name in pd.read_csv(out) if name.startswith("gram_relative_")]
        assert columns == [f"gram_relative_{layer}" for layer in layers]
