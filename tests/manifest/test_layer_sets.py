from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from manifest_texts import load

from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest


def layers_of(folder: Path, *layers: str, network: str = "vgg19") -> tuple[str, ...]:
    manifest = load(folder, layer_sets={"a": list(layers)}, network={"name": network})
    return manifest.layer_sets["a"].layers


def test_range_is_written_out(tmp_path):
    assert layers_of(tmp_path, "conv2_2..conv3_2") == ("conv2_2", "pool2", "conv3_1", "conv3_2")
    assert layers_of(tmp_path, "pool2..pool2") == ("pool2",)
    assert layers_of(tmp_path, "conv3_1..pool3", "conv1_1")[0] == "conv1_1"
    assert "conv3_4" in layers_of(tmp_path, "conv1_1..pool4")
    assert "conv3_4" not in layers_of(tmp_path, "conv1_1..pool4", network="vgg16")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["pool2..conv1_1"], "pool2..conv1_1 runs backwards. Write conv1_1..pool2"),
        (["conv1_1..pool2", "pool1"], 'the layer "pool1" is given twice'),
        (["conv1_1..pool2", "pool2..pool3"], 'the layer "pool2" is given twice'),
        (["conv1_1..pol2"], 'vgg19 has no layer "pol2". Did you mean'),
        (["conv1_1..pool1..pool2"], "A range is FIRST..LAST"),
        ([".."], 'vgg19 has no layer ""'),
    ],
)
def test_bad_layers_are_reported_at_their_place(tmp_path, layers, message):
    with pytest.raises(ManifestError) as caught:
        layers_of(tmp_path, *layers)
    (line,) = str(caught.value).splitlines()
    assert message in line
    assert re.search(r"manifest.yaml:\d+:\d+: layer_sets.a\[\d\]", line)


@pytest.mark.parametrize(
    ("layers", "components", "parameters"),
    [
        (["conv1_1..pool4"], None, 852_128),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], None, 176_640),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], 64, 10_400),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], 20, 1_050),
        (["conv1_1", "pool4"], 100, 64 * 65 // 2 + 100 * 101 // 2),
    ],
)
def test_parameters_of_vgg19_are_the_published_ones(tmp_path, layers, components, parameters):
    section = {"layers": layers} | ({"components": components} if components else {})
    manifest = load(tmp_path, layer_sets={"a": section}, network={"name": "vgg19"})
    assert manifest.layer_sets["a"].parameters == parameters


def test_what_is_measured_resolves_and_loads_again(tmp_path):
    measure = {"network": "manifest", "layers": ["conv1_1..conv1_2", "pool5"]}
    sets = {"a": {"layers": ["pool1"], "components": 7}}
    manifest = load(tmp_path, measure=measure, layer_sets=sets, network={"name": "vgg19"})
    assert manifest.measure.layers == ("conv1_1", "conv1_2", "pool5")
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(manifest.resolved(tmp_path)))
    loaded = load_manifest(again)
    assert loaded.measure == manifest.measure
    assert loaded.layer_sets == manifest.layer_sets


def test_layers_to_measure_must_be_there_and_fit(tmp_path):
    with pytest.raises(ManifestError, match='vgg16 has no layer "pool9"'):
        load(tmp_path, measure={"layers": ["pool9"]}, network={"name": "vgg16"})
    with pytest.raises(ManifestError, match="too small for pool5"):
        load(tmp_path, measure={"layers": ["pool5"]}, image={"size_px": 24})


def test_thresholds_that_judge_nothing_are_refused(tmp_path):
    sets = {"a": ["pool1"], "b": {"layers": ["pool1"], "network": {"weights": "random"}}}
    measure, accept = {"network": "manifest"}, {"gram_relative_max": 0.1}
    with pytest.raises(ManifestError, match="nothing judges b"):
        load(tmp_path, layer_sets=sets, measure=measure, accept=accept)
    assert load(tmp_path, layer_sets=sets, accept=accept).accept.gram_relative_max == 0.1
    assert load(tmp_path, layer_sets={"a": ["pool1"]}, measure=measure, accept=accept)
    reduced = {"a": {"layers": ["pool1"], "components": 2}}
    with pytest.raises(ManifestError, match="a match components alone"):
        load(tmp_path, layer_sets=reduced, accept={"gram_normalised_max": 0.1})
    assert load(tmp_path, layer_sets=reduced, accept={"clipped_share_max": 0.1})


def test_layers_to_measure_where_nothing_is_measured_are_refused(tmp_path):
    sets = {"a": {"layers": ["pool1"], "network": {"pooling": "max"}}}
    with pytest.raises(ManifestError, match="no stimulus is measured in the manifest's network"):
        load(tmp_path, layer_sets=sets, measure={"layers": ["pool2"]})
    measure = {"layers": ["pool2"], "network": "manifest"}
    assert load(tmp_path, layer_sets=sets, measure=measure)
    assert load(tmp_path, layer_sets=sets, measure={"layers": ["pool2"]}, controls=["original"])
