"""The manifests of the paper's figures, at a reduced size, with the real weights of VGG-16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.networks.import_weights import import_weights
from stimgen.networks.weights import find_weights
from stimgen.runs.runner import run

MANIFESTS = Path(__file__).parents[2] / "manifests" / "gatys2015"
FIGURES = {"figure1": 4, "figure2": 76, "figure3a": 52, "figure3b": 76, "figure3c": 40}


@pytest.fixture
def alexnet_name(tmp_path):
    """Name of imported weights of the right shapes, never trained, from a file as torchvision's is."""
    random = find_weights("alexnet", "random:1")
    places = (0, 3, 6, 8, 10)
    state = {}
    for place, kernel, bias in zip(places, random.kernels, random.biases, strict=True):
        state |= {f"features.{place}.weight": kernel, f"features.{place}.bias": bias}
    path = tmp_path / "alexnet.pth"
    torch.save(state, path)
    return import_weights(path, "alexnet", name="of_the_right_shapes", convention="torchvision").name


def reduced(name, size_px=64, **changes):
    """Return a manifest for VGG-16, smaller, with two sources, one seed and a short descent."""
    manifest = load_manifest(MANIFESTS / f"{name}.yaml", network="vgg16", seeds=[1])
    quick = manifest.synthesis.model_copy(update={"smallest_px": 32, "evaluations": (30, 30)})
    image = replace(manifest.image, size_px=size_px)
    return replace(manifest, image=image, sources=manifest.sources[:2], synthesis=quick, **changes)


@pytest.mark.parametrize("name", FIGURES)
def test_the_manifests_are_the_papers_network_and_plan(name):
    manifest = load_manifest(MANIFESTS / f"{name}.yaml")
    assert manifest.network.name == "vgg19"
    assert len(plan(manifest)) == FIGURES[name]
    assert {file.stem for file in MANIFESTS.glob("*.yaml")} == set(FIGURES)


def test_the_parameters_of_figure_3a_are_the_published_ones():
    layer_sets = load_manifest(MANIFESTS / "figure3a.yaml").layer_sets
    assert [entry.parameters for entry in layer_sets.values()] == [852_128, 176_640, 10_400, 1_050]


def held_out(folder, conditions):
    """Return the mean distance over the layers that the five-layer model does not match, per source."""
    stimuli = pd.read_csv(folder / "stimuli.csv").set_index("stimulus_id")
    distances = pd.read_csv(folder / "gram_distances.csv").set_index("stimulus_id")
    chosen = distances[(distances.stage == "file") & distances.layer.str.startswith("conv")]
    chosen = chosen[chosen.layer != "conv1_1"].join(stimuli[["source", "condition"]])
    return chosen.pivot_table(index="source", columns="condition", values="gram_relative")[conditions]


@pytest.mark.slow
def test_figure_2_runs_and_each_layer_brings_the_others_nearer(tmp_path):
    manifest = reduced("figure2", size_px=128)
    (ps,) = (control for control in manifest.controls if control.name == "portilla_simoncelli")
    short = replace(ps, options=dict(ps.options) | {"iterations": 3})
    controls = tuple(short if control is ps else control for control in manifest.controls)
    result = run(replace(manifest, controls=controls), out=tmp_path / "run")
    assert (result.made, result.failures) == (14, ())
    distances = held_out(result.folder, ["conv1_1", "pool1", "pool2", "pool3", "pool4"])
    assert (np.diff(distances.mean()) < 0).all()


@pytest.mark.slow
def test_figure_3a_runs_and_fewer_parameters_say_less(tmp_path):
    result = run(reduced("figure3a", size_px=128), out=tmp_path / "run")
    assert (result.made, result.failures) == (10, ())
    distances = held_out(result.folder, ["five_layers", "components_64", "components_20"]).mean()
    assert distances["five_layers"] < distances["components_64"] < distances["components_20"]


@pytest.mark.slow
def test_figure_3b_runs_with_weights_of_the_right_shapes(tmp_path, alexnet_name):
    manifest = reduced("figure3b")
    layer_sets = {
        name: replace(entry, network=entry.network.model_copy(update={"weights": alexnet_name}))
        if entry.network.name == "alexnet"
        else entry
        for name, entry in manifest.layer_sets.items()
    }
    result = run(replace(manifest, layer_sets=layer_sets), out=tmp_path / "run")
    assert (result.made, result.failures) == (14, ())
    table = pd.read_csv(result.folder / "stimuli.csv")
    assert set(table.measured_in) == {"vgg16 imagenet zeros"}
    assert set(table[table.condition == "conv3"].layers) == {"conv1 conv2 conv3"}


@pytest.mark.slow
def test_figure_3c_runs_and_random_weights_say_less(tmp_path):
    result = run(reduced("figure3c", size_px=128), out=tmp_path / "run")
    assert (result.made, result.failures) == (8, ())
    distances = held_out(result.folder, ["trained", "random_unscaled", "random"])
    assert (distances["trained"] < distances["random_unscaled"]).all()
    assert (distances["random_unscaled"] < distances["random"]).all()
    residuals = pd.read_csv(result.folder / "stimuli.csv").groupby("condition")["residual_gram"]
    assert residuals.max()["random_unscaled"] < 0.1 < residuals.min()["random"]
