"""Sections of a document as pydantic models, and what is wrong with them in the words of their author."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from stimgen.errors import nearest
from stimgen.manifest.document import DataPath, Document, shorten
from stimgen.manifest.schema import ENTRIES, PRESETS, Id, ManifestFile, SeedRange, Synthesis

_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text",
    "string_pattern_mismatch": "an id of letters, digits and _, at most 64, that starts with a letter",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def read_section(name: str, data: Mapping[str, Any], document: Document) -> Any:
    """Return a section of a manifest, with defaults; None stands for what is not valid, and has a problem.

    A section with several entries is read entry by entry, its short forms as the long ones.
    """
    field = ManifestFile.model_fields[name]
    if name not in data:
        if not field.is_required():
            return field.get_default()
        document.complain((), f'the key "{name}" is missing.')
        return None
    value, model, hint = data[name], field.rebuild_annotation(), field.description or ""
    if name == "trials" and not isinstance(value, list):
        value = [value]
    if name == "seeds" and isinstance(value, dict):
        model = SeedRange
    if name == "synthesis":
        value = {"preset": value} if isinstance(value, str) else value
        value = {"preset": "multiscale"} | value if isinstance(value, dict) else value
        model = PRESETS.get(str(value["preset"]), Synthesis) if isinstance(value, dict) else Synthesis
    if name not in ENTRIES or not value or type(value) is not (dict if name == "layer_sets" else list):
        return read(model, value, document, (name,), hint=hint)
    entry, key = ENTRIES[name]
    found = {
        step: read(entry, {key: item} if key and not isinstance(item, dict) else item, document, (name, step))
        for step, item in (value.items() if isinstance(value, dict) else enumerate(value))
        if isinstance(step, int) or read(Id, step, document, (name, step), of_key=True)
    }
    return (found or None) if isinstance(value, dict) else tuple(found.values())


def read(
    model: Any,
    value: Any,
    document: Document,
    place: DataPath = (),
    *,
    others: Iterable[str] = (),
    hint: str = "",
    of_key: bool = False,
) -> Any:
    """Return the value at `place` as a model; None, with problems, if it is not valid.

    The mapping there has the keys `others` beside those of the model. `hint` describes the value. With
    `of_key`, the value is the key at `place`.
    """
    spoilt = any(path[: len(place)] == place for path in document.spoilt)
    try:
        # As JSON, because pydantic's strict mode takes a list for a tuple there, but never "3" for 3.
        found = TypeAdapter(model).validate_json(json.dumps(value), strict=True)
        return found if of_key or not spoilt else None
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        loc, kind = detail["loc"], detail["type"]
        path = (*place, *loc)
        # A list is also "too short" if items are not valid, which have problems of their own.
        follows = kind == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]
        if follows or (kind == "value_error" and spoilt):
            continue
        if kind == "extra_forbidden":
            key, known = str(loc[-1]), [*others, *_fields(model, loc[:-1])]
            document.complain(path, f'unknown key "{shorten(key)}". {nearest(key, known)}', key=True)
        elif document.walk(path) not in document.spoilt:
            fields, more = _fields(model, ()), hint
            if kind == "model_type" and fields:
                more = f"Known keys: {', '.join([*others, *_fields(model, loc)])}."
            elif loc and loc[0] in fields:
                more = fields[loc[0]].description or ""
            written = None if of_key or kind == "missing" else document.written(path)
            document.complain(path, _message(detail, written, more), key=of_key)
    return None


def describe(value: object, written: str | None = None) -> str:
    """Return a value in words, as it was written where that is known."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else f"list of {len(value)}"
        return f"a {kind}" if value else f"an empty {kind.removesuffix(' of 0')}"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{shorten(value)}"' if value else "empty text"
    if isinstance(value, bool):
        return f"{shorten(written or str(value).lower())} (true or false)"
    return shorten(written or str(value))


def _message(detail: Any, written: str | None, hint: str) -> str:
    """Return what was expected and what was found."""
    kind, limits, value = detail["type"], detail.get("ctx", {}), detail["input"]
    found, word = describe(value, written), shorten(written or str(value))
    if kind == "missing" and isinstance(value, dict):
        return f'the key "{detail["loc"][-1]}" is missing.'
    if kind in {"value_error", "key_name"}:
        return f"{detail['msg'].removeprefix('Value error, ').rstrip('.')}."
    if kind in {"union_tag_invalid", "literal_error"}:
        words = str(limits.get("expected_tags") or limits["expected"]).replace(" or ", ", ").replace("'", "")
        word = str(limits.get("tag") or written or found)
        hint = "" if isinstance(value, str | dict) else hint
        return f'unknown value "{shorten(word)}". {nearest(word, words.split(", "))} {hint}'.rstrip()
    if kind == "string_type" and isinstance(value, bool | int | float):
        meaning = "true or false" if isinstance(value, bool) else "a number"
        return f'expected text, got {word}, which YAML reads as {meaning}; put it in quotes: "{word}".'
    if kind == "tuple_type" and isinstance(value, str | int | float):
        return f"expected a list such as [{word}], got {found}."
    if kind == "too_short":
        return f"expected a list with at least {limits['min_length']} in it, got {found}."
    if kind in {"too_long", "missing"}:
        return f"expected a list of another length, got {found}. {hint}".strip()
    expected = _EXPECTED.get(kind, str(detail["msg"]).removeprefix("Input should be "))
    expected = re.sub("^(greater|less) than", r"a number \g<0>", expected)
    is_form = expected in {"a list", "a mapping"}
    return f"expected {expected}, got {found}. {hint if is_form else ''}".strip()


def _fields(model: Any, loc: DataPath) -> Mapping[Any, Any]:
    """Return the fields of a model, or of that of the section inside of it at `loc`; empty if it is none."""
    for step in loc:
        annotation = model.model_fields[step].annotation
        model = next(found for found in (annotation, *get_args(annotation)) if hasattr(found, "model_fields"))
    return getattr(model, "model_fields", {})
