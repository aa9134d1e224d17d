"""pydantic's validation errors as problems of a manifest, in the words of its author."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stimgen.errors import nearest
from stimgen.manifest import schema
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.problems import DataPath

Options = TypeVar("Options", bound=BaseModel)

ITEM = "*"
ID_RULE = "an id of letters, digits and _, at most 64, that starts with a letter"

_FORMS: Mapping[DataPath, str] = {
    ("image",): "a mapping such as {size_px: 256, ppd: 41}",
    ("sources",): "a list of sources",
    ("sources", ITEM): "a path, or a mapping such as {image: textures/bark.png, crop: centre}",
    ("sources", ITEM, "crop"): "centre, random, or a box [left, top, width, height] in pixels of the source",
    ("network",): "a mapping such as {name: vgg19, weights: imagenet}",
    ("layer_sets",): "a mapping of names to lists of layers",
    ("layer_sets", ITEM): "a list of layers such as [conv1_1, pool1], or a mapping with layers",
    ("layer_sets", ITEM, "layers"): "a list of layers such as [conv1_1, pool1]",
    ("layer_sets", ITEM, "layer_weights"): "a mapping of layers to numbers above 0",
    ("layer_sets", ITEM, "network"): "a mapping such as {pooling: max}",
    ("seeds",): "{first: 1, count: 3} or a list of whole numbers",
    ("synthesis",): "the name of a preset, or a mapping such as {preset: multiscale}",
    ("synthesis", "evaluations"): "a list of whole numbers such as [60, 100]",
    ("controls",): "a list of controls",
    ("controls", ITEM): "the name of a control, or a mapping with name",
    ("matching",): "a mapping such as {histogram: source}",
    ("measure",): "a mapping such as {portilla_simoncelli: true}",
    ("accept",): "a mapping such as {gram_relative_max: 0.1}",
    ("trials",): "a mapping such as {design: oddity}, or a list of them",
    ("trials", ITEM): "a mapping such as {design: oddity}",
}
_EXPECTATIONS = {
    "string_type": "text",
    "string_too_short": "text",
    "string_pattern_mismatch": ID_RULE,
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_OF_COLLECTIONS = {"model_type", "dict_type", "tuple_type", "list_type", "set_type", "model_attributes_type"}
_OF_COLLECTIONS |= {"dataclass_type", "too_long", "union_tag_not_found"}


def complain_all(
    error: ValidationError, document: Document, place: DataPath = (), known: Iterable[str] | None = None
) -> None:
    """Add the problems of a validation error to a document.

    The error is about the value at `place`, which has the keys `known`; by default about a whole manifest.
    """
    for detail in error.errors(include_url=False):
        path = (*place, *detail["loc"]) if known is not None else _path(detail["loc"])
        unknown = detail["type"] == "extra_forbidden"
        # A list is also "too short" if items are not valid, which have problems of their own.
        too_short = detail["type"] == "too_short" and len(detail["input"]) < detail["ctx"]["min_length"]
        if unknown:
            keys = _known_keys(detail["loc"]) if known is None else known
            message = f'unknown key "{shorten(str(path[-1]))}". {nearest(str(path[-1]), keys)}'
            document.complain(path, message, key=True)
        elif (detail["type"] != "too_short" or too_short) and document.walk(path) not in document.spoilt:
            key = path[-1:] == ("[key]",)
            document.complain(path, _message(detail, path, document, key=key), key=key)


def read_options(
    model: type[Options], options: Any, document: Document, place: DataPath, names: Iterable[str]
) -> Options | None:
    """Return the options of the entry at `place` as a model; None, with problems, if they are not valid.

    `names` are the keys of the entry that are no options.
    """
    try:
        # As JSON, because pydantic's strict mode takes a list for a tuple there, but never "3" for 3.
        return model.model_validate_json(json.dumps(options), strict=True)
    except ValidationError as error:
        complain_all(error, document, place, [*names, *model.model_fields])
        return None


def describe(value: object, written: str | None = None) -> str:
    """Return a value in words, as it was written where that is known."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{shorten(value)}"' if value else "empty text"
    if isinstance(value, bool):
        return f"{shorten(written or str(value).lower())} (true or false)"
    return shorten(written or str(value))


def _message(detail: Mapping[str, Any], path: DataPath, document: Document, *, key: bool) -> str:
    """Return what was expected at `path` and what was found there."""
    kind, limits, value = detail["type"], detail.get("ctx", {}), detail["input"]
    form = _FORMS.get(_pattern(path[:-1] if kind == "missing" else path), "")
    written = None if key or kind == "missing" else document.written(path)
    found = describe(value, written)
    if kind == "missing" and isinstance(value, dict):
        return f'the key "{detail["loc"][-1]}" is missing.'
    if kind in {"reserved_id", "key_name"}:
        return str(detail["msg"])
    if kind == "value_error":
        return f"{limits['error']}."
    if kind in {"union_tag_invalid", "literal_error", "enum"} and (not form or isinstance(value, str | dict)):
        words = str(limits.get("expected_tags") or limits["expected"]).replace(" or ", ", ").replace("'", "")
        word = str(limits.get("tag") or written or found)
        return f'unknown value "{shorten(word)}". {nearest(word, words.split(", "))}'
    if kind == "string_type" and isinstance(value, bool | int | float):
        meaning = "true or false" if isinstance(value, bool) else "a number"
        word = shorten(written or str(value))
        return f'expected text, got {word}, which YAML reads as {meaning}; put it in quotes: "{word}".'
    if kind in {"tuple_type", "list_type"} and isinstance(value, str | int | float) and not form:
        return f"expected a list such as [{shorten(written or str(value))}], got {found}."
    if form and kind in {*_OF_COLLECTIONS, "missing", "union_tag_invalid", "literal_error", "enum"}:
        return f"expected {form}, got {found}."
    expected = _EXPECTATIONS.get(kind, str(detail["msg"]).removeprefix("Input should be "))
    expected = re.sub("^(greater|less) than", r"a number \g<0>", expected)
    if kind in {"too_short", "too_long"}:
        length = limits.get("min_length") or limits["max_length"]
        expected = f"a list with at {'least' if kind == 'too_short' else 'most'} {length} in it"
    return f"expected {expected}, got {found}."


def _pattern(path: DataPath) -> DataPath:
    return (path[0], ITEM, *path[2:]) if len(path) > 1 and path[0] in schema.ENTRIES else path


def _known_keys(loc: DataPath) -> Iterable[str]:
    """Return the keys of the section of a manifest that has an unknown key at `loc`."""
    section = str(loc[0])
    if len(loc) == 1:
        return schema.ManifestFile.model_fields
    if section in {"synthesis", "seeds"}:
        return schema.PRESETS.get(str(loc[1]), schema.SeedRange).model_fields
    if loc[0] == "layer_sets" and len(loc) == 4:
        return schema.NetworkOverride.model_fields
    model = schema.ENTRIES.get(section) or schema.ManifestFile.model_fields[section].annotation
    return list(getattr(model, "model_fields", ()))


def _path(loc: DataPath) -> DataPath:
    """Return the path that an error's `loc` means in a manifest.

    The loc also has the names of the forms of `seeds`, `synthesis` and `crop` that were tried.
    """
    if loc[0] in {"seeds", "synthesis"}:
        return (loc[0], *loc[2:])
    return (*loc[:3], *loc[4:]) if loc[0] == "sources" and loc[2:3] == ("crop",) else loc
