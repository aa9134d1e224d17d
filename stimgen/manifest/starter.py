"""A first manifest, with a comment on every line: it runs as it is, and offers alternatives."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from stimgen.atomic import create_file, make_folder
from stimgen.bounded import read_file
from stimgen.controls import CONTROLS
from stimgen.counting import first_few
from stimgen.errors import InputError
from stimgen.images.read import read_image
from stimgen.images.sources import ImageSpec, SourceSpec, crop_box
from stimgen.manifest.document import ManifestError
from stimgen.manifest.json_schema import json_schema
from stimgen.manifest.load import load_manifest
from stimgen.manifest.schema import VERSION, SourceSection
from stimgen.manifest.sources import find_sources, make_id
from stimgen.networks.architectures import NETWORKS

PHOTOGRAPHS = ("skimage:brick", "skimage:gravel")
# Longest line whose comment is aligned with the others of its section.
COMMENTS_FROM = 60
FOLDER = "manifests"
SCHEMA_FILE = "stimgen.schema.json"


class FoundSource(NamedTuple):
    """An image that can be a source: id, path as in the manifest, size in px, and as the user named it."""

    id: str
    image: str
    width: int
    height: int
    origin: str


def write_project(
    name: str,
    folder: Path,
    patterns: Sequence[str],
    *,
    size_px: int,
    ppd: float | None,
    network: str,
    say: Callable[[str], None],
) -> Path:
    """Write a manifest with what belongs to it, replacing nothing, and return its path."""
    _check_options(name, size_px, ppd, network)
    manifest = folder / FOLDER / f"{name}.yaml"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--folder {folder} is not a folder.", "Name a folder; it need not exist yet.")
    if manifest.exists() or manifest.is_symlink():
        raise InputError(
            f"There is a manifest {manifest} already, and nothing is overwritten.",
            "Choose another name, or another folder with --folder.",
        )
    found = []
    for source in _read_sources(patterns or PHOTOGRAPHS, folder, size_px=size_px, name=name):
        found.append(source)
        if patterns:
            say(f"{source.id}: {source.origin}, {source.width} × {source.height} px")
    text = _starter_manifest(name, found, size_px=size_px, ppd=ppd, network=network)
    make_folder(manifest.parent)
    schema_file = manifest.with_name(SCHEMA_FILE)
    if not _ensure(schema_file, json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"):
        say(f"{schema_file} is of another version of stimgen; replace it: stimgen schema > {schema_file}")
    _ensure(folder / ".gitignore", "/results/\n")
    if not patterns:
        make_folder(folder / "textures")
        readme = Path(__file__).parent / "templates" / "textures.md"
        _ensure(folder / "textures" / "README.md", readme.read_text("utf-8"))
    create_file(manifest, text.encode())
    say(f"{manifest}: {size_px} × {size_px} px, sources: {first_few([source.id for source in found])}")
    return manifest


def _ensure(path: Path, text: str) -> bool:
    """Write a file if there is none; return whether it has this text."""
    content = text.encode()
    with contextlib.suppress(FileExistsError):
        create_file(path, content)
    with contextlib.suppress(OSError):
        return read_file(path, len(content)) == content
    return False


def _check_options(name: str, size_px: int, ppd: float | None, network: str) -> None:
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
        load_manifest("new", content=yaml.safe_dump(manifest).encode(), files_needed=False)
    except ManifestError as error:
        options = {"name": "NAME", "image": f"--ppd {ppd}", "image.ppd": f"--ppd {ppd}"}
        lines = [f"{options.get(p.location, f'--size {size_px}')}: {p.message}" for p in error.errors]
        raise InputError("\n".join(lines)) from None


def _read_sources(
    patterns: Iterable[str], project: Path, *, size_px: int, name: str
) -> Iterator[FoundSource]:
    """Yield the images that can be sources; in the end, raise an error about all others."""
    found: dict[str, SourceSpec] = {}
    problems, taken = [], set[str]()
    for pattern in patterns:
        try:
            sources = find_sources(SourceSection.model_construct(image=pattern, crop="centre"), Path.cwd())
        except InputError as error:
            problems.append(f"--images: {error.problem}")
        else:
            found |= {source.image: source for source in sources}
    if problems:
        raise InputError("\n".join(problems), "Paths and patterns are relative to the current folder.")
    for image, source in found.items():
        path = None if source.path is None else Path(image).expanduser()
        word = make_id(path.stem) if path else source.id
        numbered = (f"{word[: 63 - len(str(number))]}_{number}" for number in itertools.count(2))
        source_id = next(one for one in itertools.chain([word], numbered) if one.lower() not in taken)
        try:
            height, width = read_image(path or image).pixels.shape[:2]
            spec = replace(source, id=source_id)
            crop_box(spec, ImageSpec(size_px, None, None, "grey"), (height, width), name=name, origin=image)
        except InputError as error:
            problems.append(str(error))
            continue
        taken.add(source_id.lower())
        written = _as_written(path, project) if path else image
        yield FoundSource(source_id, written, width, height, image)
    if problems:
        raise InputError("\n".join(problems))


def _starter_manifest(
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
