"""Rewrite the generated parts of the documentation, such as lists of keys, columns and commands.

A generated part lies between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``.

    python docs/generate.py
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import typer
from typer.cli import get_docs_for_click

from stimgen import cli
from stimgen.column import Column
from stimgen.controls import CONTROLS
from stimgen.decoding.columns import DECODE_TABLES
from stimgen.manifest.json_schema import json_schema
from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.extractor import PHOTOGRAPHS
from stimgen.runs.columns import TABLES
from stimgen.texture.presets import Multiscale, layers_at
from stimgen.trials import DESIGNS, TrialOptions

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?\n(<!-- end of \2 -->)", re.DOTALL)
EXAMPLES = re.compile(r"(?:^  stimgen .+\n+)+", re.MULTILINE)
PATCH = re.compile(r"(left|right|bottom|first|second|image)_(id|file|x|y|sha256)")
# What is the same for every command, repeats the arguments, or has a heading below.
REPEATED = re.compile(
    r"\*\*Commands\*\*:\n\n(?:\* .+\n)+\n|"
    r"\*\*Usage\*\*:\n\n```console\n[^`]*```\n\n|"
    r"(\*\*Options\*\*:\n\n)?\* `-h, --help`: .+\n|"
    r"^With every command: .+\n+|"
    r"^For example:\n\n",
    re.MULTILINE,
)
SIZE_PX = 256
DEFAULT_NETWORK = "vgg19"
SCALING = ("workers", "driver", "scale_simulation", "large")
PUBLISHED = [(network, entry) for network in NETWORKS for entry in NETWORKS[network]().weights]
PAPER_FIGURES = ("figure2", "figure3a", "figure3b", "figure3c")

Schema = Mapping[str, Any]


def main() -> None:
    """Rewrite every page that is out of date."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        fresh = regenerate(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")


def regenerate(text: str) -> str:
    """Return a page with its generated parts made anew."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(header), *(list(row) for row in rows)]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _section(name: str | None = None) -> str:
    schema = json_schema()
    return keys_of(schema if name is None else schema["$defs"][name], schema["$defs"])


def keys_of(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return the list of the keys of an object in a JSON Schema, with meaning, values and default."""
    required = schema.get("required", [])
    lines = []
    for key, entry in schema["properties"].items():
        value = accepted(entry, definitions)
        default = "required" if key in required else default_of(entry)
        ends = f" *{value[0].upper()}{value[1:]}{'; ' + default if default else ''}.*"
        lines.append(f"- `{key}`: {escaped(entry.get('description', ''))}{ends}")
    return "\n".join(lines)


def default_of(entry: Schema) -> str:
    """Return a key's default in YAML's words; "" where nothing is the default."""
    value = entry.get("default")
    if value is None or isinstance(value, dict) or value in ([], ""):
        return ""
    if isinstance(value, bool):
        return f"default `{str(value).lower()}`"
    if isinstance(value, list):
        return f"default `[{', '.join(map(str, value))}]`"
    return f"default `{value:g}`" if isinstance(value, float) else f"default `{value}`"


def accepted(entry: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return in words what values a JSON Schema accepts."""
    if "$ref" in entry:
        name = entry["$ref"].rpartition("/")[2]
        return KINDS[name] if name in KINDS else accepted(definitions[name], definitions)
    for key in ("anyOf", "oneOf"):
        if key in entry:
            forms = [accepted(form, definitions) for form in entry[key] if form.get("type") != "null"]
            return ", or ".join(dict.fromkeys(forms))
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        if "conv1_1" in entry["enum"]:
            return "layer"
        return ", ".join(f"`{word}`" for word in entry["enum"])
    kind = entry.get("type")
    if kind in ("integer", "number"):
        return kind.replace("integer", "whole number") + limits(entry)
    if kind == "array":
        if "prefixItems" in entry:
            return f"list of {len(entry['prefixItems'])} whole numbers"
        unique = "different " if entry.get("uniqueItems") else ""
        return f"list: {unique}{accepted(entry['items'], definitions)}"
    if kind == "object":
        patterns = entry.get("patternProperties", {})
        value = next(iter(patterns.values()), entry.get("additionalProperties"))
        keys = "layer" if "propertyNames" in entry else "id"
        return (
            f"mapping of {keys} to {accepted(value, definitions)}" if isinstance(value, dict) else "mapping"
        )
    return {"string": "id" if "pattern" in entry else "text", "boolean": "true or false"}[str(kind)]


def limits(entry: Schema) -> str:
    """Return the limits of a number in words."""
    high = f"{entry['maximum']:.10g}" if "maximum" in entry else ""
    if "exclusiveMinimum" in entry:
        return f" above {entry['exclusiveMinimum']:g}" + (f", at most {high}" if high else "")
    return f" from {entry['minimum']:g}" + (f" to {high}" if high else "") if "minimum" in entry else ""


def _controls() -> str:
    schema = json_schema()
    parts = []
    for name, control in CONTROLS.items():
        own = schema["$defs"][f"control_{name}"]
        options = {k: v for k, v in own["properties"].items() if k not in ("name", "id")}
        summary = own["description"].removeprefix("Return ").strip()
        once = "" if control.seeded else " One image per source."
        parts.append(f"### `{name}`\n\n{summary[0].upper()}{summary[1:]}{once}")
        if options:
            parts.append(keys_of({"properties": options}, schema["$defs"]))
    return "\n\n".join(parts)


def _trials() -> str:
    schema = json_schema()
    shared = TrialOptions.model_json_schema()["properties"]
    parts = ["### Options of every design", keys_of({"properties": shared}, schema["$defs"])]
    for name in DESIGNS:
        own = schema["$defs"][f"trials_{name}"]
        known = shared | {"design": own["properties"]["design"], "id": own["properties"]["id"]}
        options = {k: v for k, v in own["properties"].items() if known.get(k) != v}
        parts += [f"### `{name}`", own["description"]]
        parts.append(keys_of({"properties": options, "required": own["required"]}, schema["$defs"]))
    return "\n\n".join(parts)


def list_of(shown: Iterable[Column]) -> str:
    """Return the list of some columns; those that differ only in a number share an entry."""
    families: dict[tuple[str, str], list[Column]] = {}
    for column in shown:
        number = re.search(r"(?<=_)\d+", column.name)
        own = rf"(\b|(?<=_)){number[0]}\b" if number else r"\Z\A"
        name, text = (re.sub(own, "K", text) for text in (column.name, column.description))
        families.setdefault((name, text), []).append(column)
    lines = []
    for (_, text), family in families.items():
        names = ", ".join(f"`{column.name}`" for column in family)
        lines.append(f"- {names}: {meaning(family[0], text if len(family) > 1 else family[0].description)}")
    return "\n".join(lines)


def meaning(column: Column, text: str) -> str:
    """Return what a column means, with its unit and its source."""
    unit = f"[{column.unit}] " if column.unit else ""
    source = re.match(r".*?\(\d{4}\)", column.origin)
    return f"{unit}{escaped(text)}" + (f" *{source[0]}.*" if source else "")


def escaped(text: str) -> str:
    """Return a text in which an asterisk is no markup."""
    return text.replace("*", "\\*")


def _images() -> str:
    """Return the columns of `stimgen stats`: a table of its own, and the names of those in stimuli.csv."""
    shared = [column for column in TABLES["images"] if column in TABLES["stimuli"]]
    names = ", ".join(f"`{column.name}`" for column in shared)
    own = list_of(column for column in TABLES["images"] if column not in shared)
    return f"{own}\n\nAs in `stimuli.csv`: {names}."


def _trial_lists() -> str:
    lists = {name: TABLES[f"trials_{name}"] for name in DESIGNS}
    shared = [column for column in lists["rating"] if all(column in own for own in lists.values())]
    patch = list_of(column for column in lists["rating"] if PATCH.fullmatch(column.name))
    patch = patch.replace("`image_", "`PATCH_").replace("image patch", "patch")
    parts = ["### Every design", list_of(shared)]
    parts += ["For each patch of the trial, with the patch's name in place of PATCH:", patch]
    for name, own in lists.items():
        other = [column for column in own if column not in shared and not PATCH.fullmatch(column.name)]
        parts += [f"### {name}", list_of(other)]
    return "\n\n".join(parts)


def _csv(name: str) -> list[dict[str, str]]:
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _decoded() -> str:
    accuracy: dict[str, list[str]] = {}
    for name in ("textures", "digits"):
        for row in _csv(f"decoding-{name}"):
            top, low, high = (float(row[column]) for column in ("top1", "top1_low", "top1_high"))
            cells = accuracy.setdefault(row["layer"], [row["parameters"]])
            cells.append(f"{top:.3f} ({low:.3f} to {high:.3f})")
    header = ("layer", "parameters", "textures", "digits")
    return table(header, ((f"`{layer}`", *cells) for layer, cells in accuracy.items()))


def _decoding_a_million() -> str:
    columns = {
        "layer": "`{layer}`",
        "disk, GB": "{disk_gb:.0f}",
        "means and variances, h": "{preparation_hours:.2g}",
        "an epoch with 10 classes, h": "{epoch_hours:.2g}",
        "an epoch with 1000 classes, h": "{epoch_hours_1000_classes:.0f}",
    }
    summary = json.loads((RESULTS / "decoding-textures.json").read_text(encoding="utf-8"))
    layers = summary["per_million_images"]["layers"]
    return table(columns, ([form.format(**layer) for form in columns.values()] for layer in layers))


def _paper(figure: str) -> str:
    textures = _csv(f"paper-{figure}")
    sources = list(dict.fromkeys(texture["source"] for texture in textures))
    rows = []
    above: dict[tuple[str, str], float] = {}
    for condition in dict.fromkeys(texture["condition"] for texture in textures):
        own = [texture for texture in textures if texture["condition"] == condition]
        held_out = {(t["source"], t["seed"]): float(t["held_out_layers"]) for t in own}
        by_source = [[d for (name, _), d in held_out.items() if name == source] for source in sources]
        nearer = sum(distance < above[texture] for texture, distance in held_out.items() if above)
        rows.append(
            (
                f"`{condition}`",
                f"{int(own[0]['parameters']):,}",
                f"{max(float(texture['residual_gram']) for texture in own):.2g}",
                *(f"{mean(distances):.3f}" for distances in by_source),
                f"{mean(held_out.values()):.3f}",
                f"{nearer} of {len(held_out)}" if above else "",
            )
        )
        above = held_out
    header = ("condition", "parameters", "largest residual", *sources, "mean", "nearer than the row above")
    return table(header, rows)


def _commands() -> str:
    program = typer.main.get_command(cli.app)
    text = get_docs_for_click(
        obj=program, ctx=typer.Context(program, **program.context_settings), name="stimgen", indent=1
    )
    text = re.sub(r"\n{3,}", "\n\n", REPEATED.sub("", text))
    # Usage and examples are to be read and not to be typed.
    text = text.replace("```console\n$ ", "```text\n")
    return EXAMPLES.sub(_examples, text).strip()


def _examples(found: re.Match[str]) -> str:
    lines = "\n".join(line.strip() for line in found[0].split("\n") if line)
    return f"```text\n{lines}\n```\n\n"


def _photographs() -> str:
    rows = ((f"`{name}`", f"`{sha256}`") for name, sha256 in PHOTOGRAPHS.items())
    return table(("file in scikit-image", "SHA-256"), rows)


def _scales() -> str:
    preset = Multiscale()
    sides = preset.scales(SIZE_PX)
    architecture = NETWORKS[DEFAULT_NETWORK]()
    rows = []
    for count, deepest in enumerate(architecture.default_layers, start=1):
        used = [layers_at(architecture, architecture.default_layers[:count], px, SIZE_PX) for px in sides]
        layers = [" ".join(f"`{layer}`" for layer in names) or "not synthesised" for names in used]
        rows.append((f"`{deepest}`", f"{architecture.receptive_field(deepest)} px", *layers))
    return table(("layer set, up to", "receptive field", *(f"{px} px" for px in sides)), rows)


def _conventions() -> str:
    rows = []
    for entry in CONVENTIONS.values():
        spread = ", ".join(f"{value:g}" for value in entry.std)
        mean_values = ", ".join(map(str, entry.mean))
        rows.append((f"`{entry.name}`", entry.channels.upper(), f"0..{entry.scale:g}", mean_values, spread))
    return table(("name", "channels", "range", "mean", "standard deviation"), rows)


def _weights() -> str:
    header = ("network", "name", "file", "SHA-256 of the file", "input", "in the package", "licence")
    rows = []
    for network, entry in PUBLISHED:
        more = "" if len(entry.sha256) == 64 else " … (first digits)"
        file = f"[{entry.url.rpartition('/')[2]}]({entry.url})"
        package = f"`{entry.package.distribution}`" if entry.package else "none"
        name, sha256, convention = f"`{entry.name}`", f"`{entry.sha256}`{more}", f"`{entry.convention}`"
        rows.append((network, name, file, sha256, convention, package, entry.licence))
    return table(header, rows)


def _hashes() -> str:
    rows = [
        (f"tensors of `{entry.name}`, {network}", f"`{entry.tensors_sha256}`")
        for network, entry in PUBLISHED
        if entry.tensors_sha256
    ]
    packages = [entry.package for _, entry in PUBLISHED if entry.package]
    rows += [(f"`{package.file}` in `{package.distribution}`", f"`{package.sha256}`") for package in packages]
    return table(("what", "SHA-256"), rows)


def _printed(name: str) -> str:
    return f"```text\n{(RESULTS / f'{name}.txt').read_text('utf-8')}```"


# Sections of the manifest that have a list of their own, and what other lists say where they point to them.
SECTIONS = {
    "ImageSection": "image",
    "SourceSection": "sources",
    "NetworkSpec": "network",
    "LayerSetSection": "layer_sets",
    "SeedRange": "seeds",
    "Multiscale": "multiscale",
    "Gatys2015": "gatys2015",
    "MatchingSpec": "matching",
    "MeasureSpec": "measure",
    "AcceptSpec": "accept",
}
KINDS = {
    **{name: f"[{heading}](#{heading})" for name, heading in SECTIONS.items()},
    "NetworkOverride": "mapping with keys of [network](#network)",
    **{f"control_{name}": "[controls](#controls)" for name in CONTROLS},
    **{f"trials_{name}": "[trials](#trials)" for name in DESIGNS},
}

PARTS: Mapping[str, Callable[[], str]] = {
    "manifest": _section,
    **{heading.replace("_", " "): partial(_section, name) for name, heading in SECTIONS.items()},
    "controls": _controls,
    "trials": _trials,
    **{
        f"columns of {name}": partial(list_of, columns)
        for name, columns in (TABLES | DECODE_TABLES).items()
        if not name.startswith("trials_")
    },
    "columns of images": _images,
    "columns of trial lists": _trial_lists,
    "decoded": _decoded,
    "decoding a million": _decoding_a_million,
    **{f"paper {figure}": partial(_paper, figure) for figure in PAPER_FIGURES},
    **{f"measured {name}": partial(_printed, name) for name in SCALING},
    "photographs": _photographs,
    "scales": _scales,
    "conventions": _conventions,
    "weights": _weights,
    "hashes": _hashes,
    "commands": _commands,
}


if __name__ == "__main__":
    main()
