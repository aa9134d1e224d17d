"""Load a manifest: text, schema, meaning; every problem of the file reported at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stimgen.errors import nearest
from stimgen.manifest import resolve
from stimgen.manifest.document import MAX_BYTES, Document, parse
from stimgen.manifest.expand import expand_sources
from stimgen.manifest.problems import DataPath, ManifestError, Problem
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import LARGEST_SEED, VERSION, ManifestFile, NetworkSpec, spell_out
from stimgen.manifest.trials import check_ids, check_trials, resolve_trials
from stimgen.manifest.wording import describe, problems_of, steps_in
from stimgen.networks.architectures import NETWORKS

MAX_STIMULI = 1_000_000

_COLLECTIONS = {"sources", "layer_sets", "controls", "trials"}
# Stands in for a section that has problems of its own, so that the others can be looked at.
_STAND_INS = {
    "stimgen": VERSION,
    "name": "unnamed",
    "image": {"size_px": 256},
    "sources": [{"image": "skimage:brick"}],
}
Entry = TypeVar("Entry")


def load_manifest(
    path: str | Path,
    *,
    network: str | None = None,
    seeds: Sequence[int] | None = None,
    files_needed: bool = True,
) -> Manifest:
    """Read, check and resolve a manifest.

    Parameters
    ----------
    path
        The manifest, a YAML file.
    network
        Replaces the name in the manifest's `network` (the command line's ``--network``); layer sets that
        name a network of their own keep it.
    seeds
        Replaces the manifest's `seeds` (the command line's ``--seeds``).
    files_needed
        Whether images and weights must be there. Without, a resolved manifest is read wherever it is.

    Returns
    -------
    Manifest
        Frozen, with sources expanded and every default filled in.

    Raises
    ------
    ManifestError
        With everything that is wrong in the file.
    """
    path = Path(path)
    content = _read(path)
    document = parse(_text(content, str(path)), str(path))
    document.files_needed = files_needed
    if not isinstance(document.data, dict):
        message = f"a manifest is a mapping that starts with stimgen: 1, not {describe(document.data)}."
        document.complain((), message)
        raise ManifestError(document.problems)
    _check_version(document)
    data = spell_out(document.data)
    _override(data, document, network, seeds)
    valid = _validate(data, document)
    manifest = _resolve(valid, document, path)
    if manifest is None or document.problems:
        raise ManifestError(document.problems)
    said = {"network": network, "seeds": list(seeds) if seeds is not None else None}
    overrides = {key: value for key, value in said.items() if value is not None}
    return replace(manifest, overrides=overrides, content=content)


@dataclass
class _Valid:
    """The sections of a manifest that pass the schema, and which of them are stand-ins."""

    file: ManifestFile
    bad: set[str] = field(default_factory=set)
    places: dict[str, list[int]] = field(default_factory=dict)

    def listed(self, section: str, entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
        """Return the entries of a list with their places in the text's list."""
        places = self.places.get(section, range(len(entries)))
        return [] if section in self.bad else list(zip(places, entries, strict=True))


def _read(path: Path) -> bytes:
    name = str(path)
    try:
        if not path.exists():
            raise ManifestError(
                [Problem(name, None, None, "", f"there is no such file. {_neighbour(path)}".strip())]
            )
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise ManifestError([Problem(name, None, None, "", f"is {kind}; name a manifest file (.yaml).")])
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ManifestError([Problem(name, None, None, "", f"can't be read: {reason}.")]) from None
    if len(content) > MAX_BYTES:
        message = (
            f"is larger than {MAX_BYTES // 1_000_000} MB, which no manifest needs; use globs and seed ranges."
        )
        raise ManifestError([Problem(name, None, None, "", message)])
    return content


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"byte 0x{content[error.start]:02X} is not UTF-8; save the file with the encoding UTF-8."
        raise ManifestError([Problem(name, line, column, "", message)]) from None


def _neighbour(path: Path) -> str:
    if not path.parent.is_dir():
        return f"Its folder {path.parent} doesn't exist either."
    manifests = sorted(file.name for file in path.parent.iterdir() if file.suffix in {".yaml", ".yml"})[:20]
    return nearest(path.name, manifests) if manifests else ""


def _check_version(document: Document) -> None:
    version = document.data.get("stimgen", VERSION)
    if ("stimgen",) in document.spoilt or (version == VERSION and not isinstance(version, bool | float)):
        return
    message = f"expected {VERSION}, the manifest version that this stimgen reads, got {describe(version)}."
    document.complain(("stimgen",), message)
    if isinstance(version, int) and version > VERSION:
        # The other sections follow rules unknown here; problems found in them would mislead.
        raise ManifestError(document.problems)


def _override(
    data: dict[str, Any], document: Document, network: str | None, seeds: Sequence[int] | None
) -> None:
    """Put what the command line says into the data."""
    if network is not None and network not in NETWORKS:
        message = f'unknown network "{network}". {nearest(network, NETWORKS)}'
        document.add(Problem("--network", None, None, "", message))
    elif network is not None and isinstance(data.get("network", {}), dict):
        section = data.get("network", {})
        weights, before = section.get("weights"), section.get("name", NetworkSpec().name)
        if isinstance(weights, str) and resolve.is_weights_file(weights) and before != network:
            message = (
                f"--network {network} can't use this weights file of {before}; change the manifest instead."
            )
            document.complain(("network", "weights"), message)
        data["network"] = section | {"name": network}
    if seeds is not None:
        wrong = [seed for seed in seeds if not 0 <= seed <= LARGEST_SEED]
        if wrong or not seeds or len(set(seeds)) < len(seeds):
            found = ", ".join(map(str, seeds)) or "nothing"
            message = f"expected different whole numbers from 0 to {LARGEST_SEED}, got {found}."
            document.add(Problem("--seeds", None, None, "", message))
        else:
            data["seeds"] = list(seeds)


def _validate(data: dict[str, Any], document: Document) -> _Valid:
    """Return what the schema accepts; what it does not goes to the document's problems.

    Text is passed as JSON, because pydantic's strict mode accepts a list for a tuple there and still
    refuses "3" for 3 and yes for 1.
    """
    if "stimgen" in data:  # `_check_version` has looked at it
        data = data | {"stimgen": VERSION}
    places = [path for path in document.spoilt if len(path) > 1 or (path and path[0] not in _COLLECTIONS)]
    try:
        file = ManifestFile.model_validate_json(json.dumps(data), strict=True)
        if not places:
            return _Valid(file)
    except ValidationError as error:
        for problem in problems_of(error, document, data):
            document.add(problem)
        places += [steps_in(detail, data) for detail in error.errors(include_url=False)]
    bad: set[str] = set()
    kept: dict[str, list[int]] = {}
    pruned = dict(data)
    for section in {str(place[0]) for place in places}:
        entries = {place[1] for place in places if place[0] == section and len(place) > 1}
        whole = any(place == (section,) for place in places)
        if section in _COLLECTIONS and not whole and len(entries) < len(data[section]):
            if isinstance(data[section], list):
                kept[section] = [index for index in range(len(data[section])) if index not in entries]
                pruned[section] = [data[section][index] for index in kept[section]]
            else:
                pruned[section] = {k: v for k, v in data[section].items() if k not in entries}
        else:
            bad.add(section)
            pruned.pop(section, None)
    file = ManifestFile.model_validate_json(json.dumps(_STAND_INS | pruned), strict=True)
    return _Valid(file, bad, kept)


def _resolve(valid: _Valid, document: Document, path: Path) -> Manifest | None:
    file, folder = valid.file, path.parent.resolve()
    image = resolve.resolve_image(file.image, document) if "image" not in valid.bad else None
    listed = valid.listed("sources", file.sources)
    sources = expand_sources(listed, folder, document)
    resolve.check_boxes(listed, image, document)
    controls = valid.listed("controls", file.controls)
    names = [(index, control.id or control.name) for index, control in controls]
    resolve.check_conditions(file.layer_sets, names, document)
    resolve.check_matching(file.matching, document)
    seeds = resolve.seeds_of(file.seeds, document)
    network = None
    layer_sets: dict[str, LayerSet] = {}
    if "network" not in valid.bad:
        network = resolve.resolve_network(file.network, ("network",), folder, document)
    checkable = network
    if network is None and "network" not in valid.bad and file.network.name in NETWORKS:
        # Layer sets can be looked at although the manifest's weights are wrong.
        checkable = file.network.model_copy(update={"weights": NetworkSpec().weights})
    if checkable is not None:
        for name, section in file.layer_sets.items():
            layer_set = resolve.resolve_layer_set(name, section, checkable, folder, document)
            if layer_set is not None:
                layer_sets[name] = layer_set
    found = [
        resolve.resolve_control(index, control, image, list(file.layer_sets), layer_sets, document)
        for index, control in controls
    ]
    if image is not None:
        for layer_set in layer_sets.values():
            resolve.check_depth(layer_set, image.size_px, document)
    measure = file.measure
    if "measure" not in valid.bad:
        size_px = image.size_px if image else None
        measure = resolve.resolve_measure(measure, network, size_px, document)
        if network is not None and "accept" not in valid.bad:
            resolve.check_accept(file.accept, measure, network, layer_sets.values(), document)
        if network is not None and len(layer_sets) == len(file.layer_sets):
            specs = [control for control in found if isinstance(control, ControlSpec)]
            resolve.check_measured_network(measure, network, layer_sets.values(), specs, document)
    if not file.layer_sets and not file.controls and not {"layer_sets", "controls"} & valid.bad:
        document.complain((), "there is nothing to make; give layer_sets, controls, or both.")
    asked = valid.listed("trials", file.trials)
    check_ids(asked, document)
    trials = [resolve_trials(index, section, document) for index, section in asked]
    _check_count(len(sources) * (len(file.layer_sets) + len(controls)) * len(seeds), document)
    if image is None or network is None or document.problems:
        return None
    manifest = Manifest(
        path=path,
        folder=folder,
        name=file.name,
        description=file.description,
        image=image,
        sources=sources,
        network=network,
        layer_sets=layer_sets,
        seeds=seeds,
        synthesis=file.synthesis,
        controls=tuple(control for control in found if isinstance(control, ControlSpec)),
        matching=file.matching,
        measure=measure,
        accept=file.accept,
        trials=tuple(spec for spec in trials if spec is not None),
    )
    check_trials(manifest, [index for index, _ in asked], document)
    return manifest


def _check_count(count: int, document: Document) -> None:
    if count > MAX_STIMULI:
        place: DataPath = ("seeds",)
        message = (
            f"sources × conditions × seeds make {count} stimuli, more than {MAX_STIMULI}; split the manifest."
        )
        document.complain(place, message)
