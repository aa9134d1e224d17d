from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stimgen.controls import CONTROLS
from stimgen.manifest.json_schema import json_schema
from stimgen.manifest.schema import ManifestFile
from stimgen.networks.architectures import NETWORKS


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def test_it_is_json_with_dialect_and_title(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "stimgen manifest, version 1"
    assert set(schema["properties"]) == set(ManifestFile.model_fields)
    assert schema["required"] == ["stimgen", "name", "image", "sources"]


def test_every_reference_resolves(schema: dict[str, Any]) -> None:
    used = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema))
    assert set(used) == set(schema["$defs"])


def test_every_mapping_refuses_unknown_keys_and_describes_the_known(schema: dict[str, Any]) -> None:
    for node in [schema, *schema["$defs"].values()]:
        assert node["additionalProperties"] is False
        for name, entry in node["properties"].items():
            assert entry.get("description"), f"{node['title']}.{name} has no description"


def test_names_are_those_of_the_registries(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    assert definitions["NetworkSpec"]["properties"]["name"]["enum"] == list(NETWORKS)
    layers = definitions["LayerSetSection"]["properties"]["layers"]["items"]["enum"]
    assert set(layers) == {layer for name in NETWORKS for layer in NETWORKS[name]().layers}
    short, *full = schema["properties"]["controls"]["items"]["anyOf"]
    assert short["enum"] == list(CONTROLS)
    assert [entry["$ref"] for entry in full] == [f"#/$defs/control_{name}" for name in CONTROLS]
    for name in CONTROLS:
        control = definitions[f"control_{name}"]
        assert set(control["properties"]) == {"name", "id", *CONTROLS[name].options.model_fields}
        assert control["properties"]["name"]["const"] == name
        assert control["required"] == ["name"]


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "manifests").glob("*.yaml")))
def test_the_manifests_of_the_repository_are_valid(path: Path, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize(
    "change",
    [
        {"stimgen": 2},
        {"colour": "grey"},
        {"network": {"name": "vgg11"}},
        {"layer_sets": {"deep": ["conv9_9"]}},
        {"controls": [{"name": "phase_scrambled", "strength": 3}]},
        {"synthesis": {"preset": "multiscale", "iterations": 5}},
        {"accept": {"clipped_share": 0.1}},
    ],
)
def test_a_mistake_is_found_by_an_editor(change: dict[str, Any], schema: dict[str, Any]) -> None:
    manifest = {"stimgen": 1, "name": "x", "image": {"size_px": 64}, "sources": ["skimage:brick"]}
    jsonschema.validate(manifest, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | change, schema)
