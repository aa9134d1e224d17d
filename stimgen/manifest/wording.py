"""Validation errors in the words of the person who wrote the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stimgen.errors import nearest
from stimgen.manifest import schema
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.problems import DataPath, Problem
from stimgen.texture.presets import Gatys2015, Multiscale

ITEM = "*"
ID_RULE = "an id of letters, digits and _, at most 64, that starts with a letter"

_MODELS: Mapping[DataPath, type[BaseModel]] = {
    (): schema.ManifestFile,
    ("image",): schema.ImageSection,
    ("sources", ITEM): schema.SourceSection,
    ("network",): schema.NetworkSpec,
    ("layer_sets", ITEM): schema.LayerSetSection,
    ("layer_sets", ITEM, "network"): schema.NetworkOverride,
    ("seeds",): schema.SeedRange,
    ("matching",): schema.MatchingSpec,
    ("measure",): schema.MeasureSpec,
    ("accept",): schema.AcceptSpec,
}
_PRESETS: Mapping[str, type[BaseModel]] = {"multiscale": Multiscale, "gatys2015": Gatys2015}

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
_COLLECTIONS = {"model_type", "dict_type", "tuple_type", "list_type", "set_type", "model_attributes_type"}
_COLLECTIONS |= {"dataclass_type", "too_long", "union_tag_not_found"}


def problems_of(error: ValidationError, document: Document, data: Any) -> Iterator[Problem]:
    """Yield the problems behind a validation error of the whole manifest.

    Parameters
    ----------
    error
        What `schema.ManifestFile` raised.
    document
        Where things stand in the text.
    data
        What was validated: the document's data with its short forms spelt out.
    """
    for detail in error.errors(include_url=False):
        path, key = _path(detail["loc"], data)
        if document.walk(path) in document.spoilt and detail["type"] != "extra_forbidden":
            continue
        if detail["type"] == "extra_forbidden":
            word = str(path[-1])
            message = f'unknown key "{shorten(word)}". {nearest(word, _known_keys(path[:-1], data))}'
            yield document.problem(path, message, key=True)
        elif not _is_echo(detail):
            yield document.problem(path, message_of(detail, path, document, key=key), key=key)


def steps_in(detail: Mapping[str, Any], data: Any) -> DataPath:
    """Return the path in `data` that has the error `detail`; of a missing key, the path it would have."""
    path, _ = _path(detail["loc"], data)
    return path or (str(detail["loc"][-1]),)


def option_problems(
    error: ValidationError, document: Document, path: DataPath, known: list[str]
) -> Iterator[Problem]:
    """Yield the problems of the options of the entry at `path`, which knows the keys `known`."""
    for detail in error.errors(include_url=False):
        place = (*path, *(step for step in detail["loc"]))
        if detail["type"] == "extra_forbidden":
            word = str(detail["loc"][-1])
            message = f'unknown key "{shorten(word)}". {nearest(word, known)}'
            yield document.problem(place, message, key=True)
        elif not _is_echo(detail):
            yield document.problem(place, message_of(detail, place, document))


def message_of(detail: Mapping[str, Any], path: DataPath, document: Document, *, key: bool = False) -> str:
    """Return what was expected at `path` and what was found there."""
    kind, limits, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "missing":
        return (
            f'the key "{detail["loc"][-1]}" is missing.'
            if isinstance(value, dict)
            else _expected(path, value, "")
        )
    if kind in {"reserved_id", "key_name"}:
        return str(detail["msg"])
    if kind == "value_error":
        return f"{limits['error']}."
    if kind in {"union_tag_invalid", "literal_error", "enum"}:
        if _form(path) and not isinstance(value, str | dict):
            return _expected(path, value, document.written(path))
        words = str(limits.get("expected_tags") or limits["expected"]).replace(" or ", ", ").replace("'", "")
        found = str(limits.get("tag") or document.written(path) or describe(value))
        return f'unknown value "{shorten(found)}". {nearest(found, words.split(", "))}'
    written = None if key else document.written(path)
    if kind == "string_type" and isinstance(value, bool | int | float):
        meaning = "true or false" if isinstance(value, bool) else "a number"
        as_written = shorten(written or str(value))
        cure = f'put it in quotes: "{as_written}".'
        return f"expected text, got {as_written}, which YAML reads as {meaning}; {cure}"
    if kind in {"tuple_type", "list_type"} and isinstance(value, str | int | float) and not _form(path):
        return f"expected a list such as [{shorten(written or str(value))}], got {describe(value, written)}."
    if kind in _COLLECTIONS and _form(path):
        return _expected(path, value, written)
    return f"expected {expectation(kind, limits, str(detail['msg']))}, got {describe(value, written)}."


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


def expectation(kind: str, limits: Mapping[str, Any], otherwise: str) -> str:
    """Return what a validation error of the type `kind` expected; `otherwise` is pydantic's message."""
    if kind in {"greater_than_equal", "less_than_equal", "greater_than", "less_than"}:
        words = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}
        return "a number " + " and ".join(f"{words[name]} {_plain(limit)}" for name, limit in limits.items())
    if kind == "too_short":
        return f"a list with at least {limits['min_length']} in it"
    if kind == "too_long":
        return f"a list with at most {limits['max_length']} in it"
    return {
        "string_type": "text",
        "string_too_short": "text",
        "string_pattern_mismatch": ID_RULE,
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a number that is not infinite",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "none_required": "nothing",
    }.get(kind, otherwise.removeprefix("Input should be "))


def _plain(limit: float) -> str:
    return str(int(limit)) if float(limit).is_integer() else str(limit)


def _expected(path: DataPath, value: object, written: str | None) -> str:
    return f"expected {_form(path)}, got {describe(value, written)}."


def _form(path: DataPath) -> str:
    return _FORMS.get(_pattern(path), "")


def _pattern(path: DataPath) -> DataPath:
    if len(path) > 1 and path[0] in {"sources", "layer_sets", "controls", "trials"}:
        return (path[0], ITEM, *path[2:])
    return path


def _known_keys(path: DataPath, data: Any) -> list[str]:
    if path == ("synthesis",):
        return list(_PRESETS[data["synthesis"]["preset"]].model_fields)
    return list(_MODELS[_pattern(path)].model_fields)


def _is_echo(detail: Mapping[str, Any]) -> bool:
    """Whether a list is "too short" only because of its bad items, which have errors of their own."""
    return bool(detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"])


def _path(loc: tuple[str | int, ...], data: Any) -> tuple[DataPath, bool]:
    """Return the path in the data that an error's `loc` means, and whether it is about the key there.

    The loc also holds the forms of `seeds`, `synthesis` and `crop` that were tried, which the data lacks (but
    which may be the name of a key there), and "[key]".
    """
    form = (
        1
        if loc[:1] in {("seeds",), ("synthesis",)}
        else 3
        if loc[0] == "sources" and "crop" in loc[2:3]
        else 0
    )
    path: DataPath = ()
    for step in loc[:form] + loc[form + 1 :] if form else loc:
        inside = isinstance(data, dict) and step in data
        if inside or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            data = data[step]
            path = (*path, step)
    return path, loc[-1] == "[key]"
