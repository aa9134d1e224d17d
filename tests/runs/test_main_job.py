"""The whole job with the real weights: what a user gets, measured on the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.columns import RUN_TABLES
from stimgen.runs.runner import run

MANIFESTS = Path(__file__).parents[2] / "manifests"
LAYERS = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
LARGEST = {"conv1_1": 0.02, "pool1": 0.03, "pool2": 0.06, "pool3": 0.12, "pool4": 0.16}
"""Relative Gram distance of the file that the default preset stays below, for a brick wall at 256 px."""

FIVE_LAYERS = {
    "stimgen": 1,
    "name": "five_layers",
    "image": {"size_px": 256, "color": "grey"},
    "sources": ["skimage:brick"],
    "network": {"name": "vgg16"},
    "layer_sets": {"pool4": LAYERS},
    "controls": ["phase_scrambled"],
}


def load(folder, **changes):
    path = folder / "manifests" / "manifest.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(FIVE_LAYERS | changes), encoding="utf-8")
    return load_manifest(path)


def stimuli(folder):
    return pd.read_csv(folder / "stimuli.csv").set_index("stimulus_id")


@pytest.mark.slow
def test_the_default_preset_matches_five_layers_and_a_phase_scramble_does_not(tmp_path):
    result = run(load(tmp_path))
    table = stimuli(result.folder)
    for layer, largest in LARGEST.items():
        reached = table.loc["brick-pool4-s1", f"gram_relative_{layer}"]
        assert reached <= largest
        assert table.loc["brick-phase_scrambled-s1", f"gram_relative_{layer}"] > 2 * reached


@pytest.mark.parametrize(("name", "count"), [("quickstart", 10), ("exp1", 39), ("controls", 39)])
def test_the_manifests_that_come_along_load_and_plan(name, count):
    stimuli = plan(load_manifest(MANIFESTS / f"{name}.yaml"))
    assert len({stimulus.stimulus_id for stimulus in stimuli}) == len(stimuli) == count


@pytest.mark.slow
def test_controls_keep_what_they_should_and_nothing_else_on_the_file(tmp_path):
    manifest = load_manifest(MANIFESTS / "controls.yaml")
    quick = manifest.synthesis.model_copy(update={"evaluations": (30, 20)})
    one = replace(manifest, synthesis=quick, sources=manifest.sources[:1])
    result = run(one, out=tmp_path / "controls")
    assert not result.failures
    for _, table in pd.read_csv(result.folder / "stimuli.csv").set_index("condition").groupby("source"):
        entropy = table.loc["original", "entropy"]
        for condition in ("pixel_shuffled", "block_shuffled", "phase_scrambled_histogram"):
            assert table.loc[condition, "entropy"] == pytest.approx(entropy, abs=1e-12)
        for condition in ("pixel_shuffled", "pink_noise", "white_noise"):
            assert table.loc[condition, "amplitude_error"] > 0.5
        assert table.loc["phase_scrambled", "amplitude_error"] < 0.03
        assert table.loc["phase_scrambled_histogram", "residual_histogram"] == 0
        assert 0 < table.loc["phase_scrambled_histogram", "residual_spectrum"] < 0.15
        assert table.loc["pink_noise", "spectral_slope"] == pytest.approx(1, abs=0.1)
        for condition in ("pixel_shuffled", "white_noise"):
            assert table.loc[condition, "spectral_slope"] == pytest.approx(0, abs=0.1)
        alike = table.loc[["original", "other_crop", "pool4"]]
        # Phases make structure: with them kept, the spectrum of the set may leave a texture like its source.
        between = ["block_shuffled", "spectrum_matched_set", "portilla_simoncelli", "random_weights"]
        others = table.drop(index=[*alike.index, *between])["gram_normalised_pool4"]
        assert (others > alike["gram_normalised_pool4"].max()).all()
        # Nearer than its spectrum alone, although made without a network.
        nearer, farther = table.loc[["portilla_simoncelli", "phase_scrambled"], "gram_relative_pool4"]
        assert nearer < farther
        # Random filters are matched well, and say less about the texture than trained ones.
        assert table.loc["random_weights", "residual_gram"] < 0.1
        distances = table["gram_relative_pool4"]
        assert distances["pool4"] < distances["random_weights"] < distances["phase_scrambled"]


@pytest.mark.slow
def test_the_same_manifest_gives_the_same_bytes(tmp_path):
    budget = {"preset": "multiscale", "evaluations": [40, 20]}
    contents = []
    for name in ("first", "second"):
        folder = run(load(tmp_path / name, image={"size_px": 128}, synthesis=budget)).folder
        files = [*folder.glob("stimuli/*.png"), *folder.glob("*.csv")]
        contents.append({file.name: file.read_bytes() for file in files})
    assert len(contents[0]) == 2 + len(RUN_TABLES)
    assert contents[0] == contents[1]
