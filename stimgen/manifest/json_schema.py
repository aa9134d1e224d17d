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
    """Return the JSON Schema (draft 2020-12) of a manifest, with short forms, networks, layers and controls.

    It can't know what depends on other parts of a file or on the disk: which layers a layer set's network
    has, whether sizes agree, whether files exist. `load_manifest` checks these.
    """
    schema = ManifestFile.model_json_schema()
    definitions = schema["$defs"]
    networks = list(NETWORKS)
    layers = list(dict.fromkeys(layer for name in networks for layer in NETWORKS[name]().layers))
    definitions["NetworkSpec"]["properties"]["name"]["enum"] = networks
    override = definitions["NetworkOverride"]["properties"]["name"]
    override["anyOf"] = [{"type": "string", "enum": networks}, {"type": "null"}]
    layer_set = definitions["LayerSetSection"]["properties"]
    layer_set["layers"] |= {"items": {"type": "string", "enum": layers}, "uniqueItems": True}
    layer_set["layer_weights"]["propertyNames"] = {"enum": layers}
    definitions |= {f"control_{name}": _control(name, definitions) for name in CONTROLS}
    short_source = {"type": "string", "minLength": 1, "description": "Path, glob or skimage:NAME."}
    short_controls = {"type": "string", "enum": list(CONTROLS), "description": "Name of the control."}
    full_controls = [{"$ref": f"#/$defs/control_{name}"} for name in CONTROLS]
    definitions |= {f"trials_{name}": _trials(name, definitions) for name in DESIGNS}
    designs = [{"$ref": f"#/$defs/trials_{name}"} for name in DESIGNS]
    del definitions["ControlSection"], definitions["TrialsSection"]
    properties = schema["properties"]
    properties["sources"]["items"] = {"anyOf": [short_source, {"$ref": "#/$defs/SourceSection"}]}
    properties["controls"]["items"] = {"anyOf": [short_controls, *full_controls]}
    lists = properties["trials"]
    lists["anyOf"] = [*designs, {"type": lists.pop("type"), "items": {"anyOf": designs}}]
    del lists["items"]
    either = {"anyOf": [layer_set["layers"], {"$ref": "#/$defs/LayerSetSection"}]}
    properties["layer_sets"] |= {"patternProperties": {ID_PATTERN: either}, "additionalProperties": False}
    presets = properties["synthesis"].pop("oneOf")
    names = list(properties["synthesis"].pop("discriminator")["mapping"])
    properties["synthesis"]["anyOf"] = [{"type": "string", "enum": names}, *presets]
    definitions["Gatys2015"]["required"] = ["preset"]
    return {"$schema": DIALECT, "title": "stimgen manifest, version 1"} | {
        key: value for key, value in schema.items() if key != "title"
    }


def _control(name: str, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a control with its options; definitions that these refer to go to `shared`."""
    return _with_options("ControlSection", "name", name, CONTROLS[name].options, shared)


def _trials(name: str, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the same of a trial list of a design."""
    return _with_options("TrialsSection", "design", name, DESIGNS[name].options, shared)


def _with_options(
    section: str, key: str, name: str, model: type[BaseModel], shared: dict[str, Any]
) -> dict[str, Any]:
    options = model.model_json_schema()
    base = shared[section]["properties"]
    own_name = {"const": name, "description": base[key]["description"]}
    shared |= options.pop("$defs", {})
    return options | {
        "title": name,
        "properties": {key: own_name, "id": base["id"], **options.get("properties", {})},
        "required": [key, *options.get("required", [])],
    }
