"""A first manifest, with a comment on every line: it runs as it is, and offers alternatives."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, is_plain_name, read_image
from stimgen.images.sources import ImageSpec, SourceSpec, crop_box
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import read_manifest
from stimgen.manifest.schema import VERSION
from stimgen.manifest.sources import find_file, make_id, matching_files
from stimgen.networks.architectures import NETWORKS

PHOTOGRAPHS = ("skimage:brick", "skimage:gravel")
# Longest line whose comment is aligned with the others of its section.
COMMENTS_FROM = 60
FOLDER = "manifests"
SCHEMA_FILE = "stimgen.schema.json"
TEXTURES_README = Path(__file__).parent / "templates" / "textures.md"


@dataclass(frozen=True)
class FoundSource:
    """An image that can be a source: id, path as in the manifest, size in px, and as the user named it."""

    id: str
    image: str
    width: int
    height: int
    origin: str


def check_options(name: str, size_px: int, ppd: float | None, network: str) -> None:
    """Do nothing if a manifest may have this name, and stimuli this size in this network."""
    manifest = {
        "stimgen": VERSION,
        "name": name,
        "image": {"size_px": size_px} | ({} if ppd is None else {"ppd": ppd}),
        "sources": list(PHOTOGRAPHS),
        "network": {"name": network},
        "layer_sets": {"default_layers": list(NETWORKS[network]().default_layers)},
    }
    try:
        read_manifest(yaml.safe_dump(manifest).encode(), Path("new"), files_needed=False)
    except ManifestError as error:
        options = {"name": "NAME", "image": f"--ppd {ppd}", "image.ppd": f"--ppd {ppd}"}
        lines = [f"{options.get(p.location, f'--size {size_px}')}: {p.message}" for p in error.errors]
        raise InputError("\n".join(lines)) from None


def find_images(patterns: Iterable[str], folder: Path) -> list[str]:
    """Return the images that paths and globs name, as relative to `folder` as these are; each once."""
    found: dict[str, None] = {}
    problems = []
    for pattern in patterns:
        if pattern.startswith(SKIMAGE_PREFIX) or find_file(pattern, folder):
            found[pattern] = None
            continue
        try:
            matches = matching_files(pattern, folder) if glob.has_magic(pattern) else []
        except InputError as error:
            problems.append(f"--images: {error.problem}")
            continue
        if not matches:
            problems.append(f'--images: no file is called "{pattern}".')
        found |= dict.fromkeys(matches)
    if problems:
        cure = (
            "Give the path of an image, or a pattern such as textures/*.png, relative to the current folder."
        )
        raise InputError("\n".join(problems), cure)
    return list(found)


def read_sources(images: Iterable[str], project: Path, *, size_px: int, name: str) -> Iterator[FoundSource]:
    """Read images and yield those that can be sources; at the end, raise an error about all others."""
    taken: set[str] = set()
    problems = []
    for image in images:
        try:
            packaged = image.startswith(SKIMAGE_PREFIX)
            path = None if packaged else Path(image).expanduser()
            if path and not is_plain_name(str(path)):
                raise InputError(f"The name of the file {image!a} is no plain text.", "Rename the file.")
            height, width = read_image(path or image).pixels.shape[:2]
            stem = image.removeprefix(SKIMAGE_PREFIX) if path is None else path.stem
            source_id = _unused(make_id(stem), taken)
            spec = SourceSpec(source_id, image, path, "centre")
            crop_box(spec, ImageSpec(size_px, None, None, "grey"), (height, width), name=name, origin=image)
        except InputError as error:
            problems.append(str(error))
            continue
        taken.add(source_id.lower())
        yield FoundSource(source_id, _as_written(path, project) if path else image, width, height, image)
    if problems:
        raise InputError("\n".join(problems))


def starter_manifest(
    name: str, sources: Sequence[FoundSource], *, size_px: int, ppd: float | None, network: str
) -> str:
    """Return the text of a manifest of this name, for the folder `FOLDER`."""
    environment = Environment(
        loader=PackageLoader("stimgen.manifest"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML: `_scalar` quotes
    )
    environment.filters |= {
        "yaml": _scalar,
        "flow": lambda layers: f"[{', '.join(layers)}]",
        "degrees": lambda px, ppd: f"{px / ppd:.6g}",
    }
    layers = NETWORKS[network]().default_layers
    controls: dict[str, list[dict[str, str]]] = {"used": [], "others": []}
    for control in CONTROLS.values():
        if control.check is None or control.check(control.options().model_dump(), size_px) is None:
            needs_layers = "layer_set" in control.options.model_fields
            entry = f"{{name: {control.name}, layer_set: {layers[-1]}}}" if needs_layers else control.name
            group = controls["used" if control.common else "others"]
            group.append({"entry": entry, "summary": control.summary})
    others = [other for other in NETWORKS if other != network]
    text: str = environment.get_template("starter.yaml.jinja").render(
        name=name,
        path=f"{FOLDER}/{name}.yaml",
        schema_file=SCHEMA_FILE,
        size_px=size_px,
        ppd=ppd,
        sources=sources,
        network=network,
        networks=[other for other in others if set(layers) <= set(NETWORKS[other]().layers)],
        layer_sets=[layers[:1], layers[:3], layers],
        deepest=layers,
        controls=controls,
        crop_px=size_px // 4 * 2,
        gap=min(2, len(sources) - 1),
    )
    return _aligned(text)


def _aligned(text: str) -> str:
    """Return a text with its comments, which follow a tab, aligned in each section."""
    sections = []
    for section in text.split("\n\n"):
        lines = [line.split("\t") for line in section.split("\n")]
        widths = [len(parts[0]) for parts in lines if len(parts) > 1]
        width = max((width for width in widths if width <= COMMENTS_FROM), default=COMMENTS_FROM)
        sections.append(
            "\n".join(f"{parts[0]:<{width}}  {parts[1]}" if parts[1:] else parts[0] for parts in lines)
        )
    return "\n\n".join(sections)


def _unused(word: str, taken: set[str]) -> str:
    """Return an id that is not taken, ignoring case: the word, or with a number behind it."""
    number, unused = 1, word
    while unused.lower() in taken:
        number += 1
        unused = f"{word[: 63 - len(str(number))]}_{number}"
    return unused


def _as_written(path: Path, project: Path) -> str:
    """Return a path as a manifest in the project names it."""
    file, root = path.parent.resolve() / path.name, project.resolve()
    inside = file.is_relative_to(root) and (root / FOLDER).resolve() == root / FOLDER
    return f"../{file.relative_to(root).as_posix()}" if inside else file.as_posix()


def _scalar(value: str | float) -> str:
    """Return a value in YAML, texts in quotes where they are more than an id."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and value < 1e6 else yaml.safe_dump(value).split()[0]
    if value.isidentifier() and yaml.safe_load(value) == value:
        return value
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=inf).strip()
