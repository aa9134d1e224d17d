"""The JSON Schema of manifests, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from stimgen.controls import CONTROLS
from stimgen.manifest.schema import ID_PATTERN, ManifestFile
from stimgen.networks.architectures import NETWORKS
from stimgen.trials import DESIGNS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, with short forms and the names of all that is registered.

    What depends on other parts of a file or on the disk, `load_manifest` alone checks.
    """
    schema = ManifestFile.model_json_schema()
    definitions, properties = schema["$defs"], schema["properties"]
    networks = list(NETWORKS)
    layers = list(dict.fromkeys(layer for name in networks for layer in NETWORKS[name]().layers))
    definitions["NetworkSpec"]["properties"]["name"]["enum"] = networks
    override = definitions["NetworkOverride"]["properties"]["name"]
    override["anyOf"] = [{"type": "string", "enum": networks}, {"type": "null"}]
    layer_set = definitions["LayerSetSection"]["properties"]
    layer_set["layers"] |= {"items": {"type": "string", "enum": layers}, "uniqueItems": True}
    layer_set["layer_weights"]["propertyNames"] = {"enum": layers}
    controls = [
        _entry(definitions, "ControlSection", "name", name, CONTROLS[name].options) for name in CONTROLS
    ]
    designs = [
        _entry(definitions, "TrialsSection", "design", name, DESIGNS[name].options) for name in DESIGNS
    ]
    del definitions["ControlSection"], definitions["TrialsSection"]
    short_source = {"type": "string", "minLength": 1, "description": "Path, glob or skimage:NAME."}
    properties["sources"]["items"] = {"anyOf": [short_source, {"$ref": "#/$defs/SourceSection"}]}
    short_control = {"type": "string", "enum": list(CONTROLS), "description": "Name of the control."}
    properties["controls"]["items"] = {"anyOf": [short_control, *controls]}
    lists = properties["trials"]
    lists["anyOf"] = [*designs, {"type": lists.pop("type"), "items": {"anyOf": designs}}]
    del lists["items"]
    either = {"anyOf": [layer_set["layers"], {"$ref": "#/$defs/LayerSetSection"}]}
    properties["layer_sets"] |= {"patternProperties": {ID_PATTERN: either}, "additionalProperties": False}
    presets = properties["synthesis"].pop("oneOf")
    names = list(properties["synthesis"].pop("discriminator")["mapping"])
    properties["synthesis"]["anyOf"] = [{"type": "string", "enum": names}, *presets]
    definitions["Gatys2015"]["required"] = ["preset"]
    del schema["title"]
    return {"$schema": DIALECT, "title": "stimgen manifest, version 1"} | schema


def _entry(
    definitions: dict[str, Any], section: str, key: str, name: str, model: type[BaseModel]
) -> dict[str, str]:
    """Define a control or a trial list with the options of `model`, and return the reference to it."""
    options = model.model_json_schema()
    base = definitions[section]["properties"]
    own_name = {"const": name, "description": base[key]["description"]}
    definitions |= options.pop("$defs", {})
    label = f"{'control' if key == 'name' else 'trials'}_{name}"
    definitions[label] = options | {
        "title": name,
        "properties": {key: own_name, "id": base["id"], **options.get("properties", {})},
        "required": [key, *options.get("required", [])],
    }
    return {"$ref": f"#/$defs/{label}"}
