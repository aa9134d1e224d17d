"""Conditions that match components, or that another network makes, in records and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from run_manifests import tiny

from stimgen.images.png import decode_png
from stimgen.images.read import read_image
from stimgen.images.sources import load_source
from stimgen.networks.extractor import build_extractor
from stimgen.networks.photographs import photographs
from stimgen.networks.weights import find_weights
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder

SETS = {
    "pool1": ["conv1_1..pool1"],
    "reduced": {"layers": ["conv1_1", "pool1"], "components": 4},
    "random": {"layers": ["conv1_1", "pool1"], "network": {"weights": "random:3"}},
    "maximum": {"layers": ["pool1"], "network": {"pooling": "max"}},
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> RunFolder:
    """All of them measured in the manifest's network, also on a layer that none of them matches."""
    folder = tmp_path_factory.mktemp("compared")
    measure = {"network": "manifest", "layers": ["conv1_1..pool1", "conv2_1"]}
    control = {"name": "random_weights", "layer_set": "reduced"}
    manifest = tiny(folder, layer_sets=SETS, measure=measure, seeds=[1], controls=["original", control])
    result = run(manifest)
    assert not result.failures
    return RunFolder(result.folder)


@pytest.fixture(scope="module")
def rows(compared) -> pd.DataFrame:
    return pd.read_csv(compared.path / "stimuli.csv").set_index("condition")


def test_the_table_says_how_many_parameters_a_condition_has(rows):
    n = 64 * 65 // 2
    assert rows.parameters["pool1"] == 3 * n  # conv1_1, conv1_2, pool1
    assert rows.parameters["reduced"] == rows.parameters["random_weights"] == 2 * (4 * 5 // 2)
    assert rows.parameters["random"] == 2 * n
    assert rows.components["reduced"] == 4
    assert rows.components[["pool1", "random", "original"]].isna().all()
    assert np.isnan(rows.parameters["original"])


def test_everything_is_measured_in_the_manifests_network(compared, rows, tmp_path):
    assert set(rows.measured_in) == {"vgg16 imagenet mirrored"}
    assert rows.measured_in_sha256.nunique() == 1
    assert rows.weights["random"] == "random:3"
    assert rows.pooling["maximum"] == "max"
    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    weights = find_weights("vgg16", "imagenet")
    extractor = build_extractor(weights, padding="mirrored", normalise=False, deepest="conv2_1")
    for condition in ("random", "maximum", "reduced", "original"):
        seen = decode_png((compared.path / rows.filename[condition]).read_bytes())
        grams = []
        for image in (seen, source):
            batch = torch.from_numpy(image)[None, None].expand(1, 3, -1, -1)
            maps = extractor.features(batch, ["conv2_1"])["conv2_1"][0].double().flatten(1).numpy()
            grams.append(maps @ maps.T / maps.shape[1])
        expected = np.linalg.norm(grams[0] - grams[1]) / np.linalg.norm(grams[1])
        assert rows.gram_relative_conv2_1[condition] == pytest.approx(expected, rel=1e-4)


def test_the_residual_is_that_of_what_was_matched(compared, rows, tmp_path):
    """Recomputed from the formulas in NumPy: four components of the photographs' features."""
    weights = find_weights("vgg16", "imagenet")
    extractor = build_extractor(weights, padding="mirrored", normalise=False, deepest="pool1")

    def gram(image, layer):
        batch = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        maps = extractor.features(batch, [layer])[layer][0].double().flatten(1).numpy()
        return maps @ maps.T / maps.shape[1]

    def colour(plane):
        return np.stack([plane] * 3, axis=2)

    manifest = tiny(tmp_path)
    source = load_source(manifest.sources[0], manifest.image, name=manifest.name).pixels
    seen = read_image(str(compared.path / rows.filename["reduced"])).pixels
    worst = 0.0
    for layer in ("conv1_1", "pool1"):
        vectors = np.linalg.svd(sum(gram(photo, layer) for photo in photographs()))[0][:, :4]
        ours, theirs = (vectors.T @ gram(colour(image), layer) @ vectors for image in (seen, source))
        worst = max(worst, np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    # The residual is of the image before it was rounded to 8 bits.
    assert rows.residual_gram["reduced"] == pytest.approx(worst, rel=0.02)
    assert rows.residual_gram["reduced"] < rows.gram_relative_matched["reduced"]


def test_run_json_names_the_networks_that_make_and_the_one_that_measures(tmp_path):
    sets = {"random": SETS["random"]}
    result = run(tiny(tmp_path, layer_sets=sets, measure={"network": "manifest"}, controls=None, seeds=[1]))
    networks = RunFolder(result.folder).read_summary()["networks"]
    assert [network["weights"] for network in networks] == ["random:3", "imagenet"]
