"""What a run of a manifest would find in its folder: read from the records, without torch or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, skimage_path
from stimgen.images.sources import crop_box
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolve import is_weights_file
from stimgen.manifest.resolved import Manifest, SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.networks.catalogue import published_weights
from stimgen.networks.weights import WeightsError
from stimgen.networks.weights.cache import cached_path, read_header
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import recipe, recipe_sha256
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256


class RecordedConvention(NamedTuple):
    """An input convention as a record names it."""

    name: str


class RecordedWeights(NamedTuple):
    """Weights as a record names them."""

    tensors_sha256: str
    normalised: bool
    convention: RecordedConvention


@dataclass(frozen=True)
class Outlook:
    """How many stimuli of a manifest a run would keep, make, and replace."""

    keep: int
    make: int
    replace: int
    unplanned: int


def outlook(manifest: Manifest, folder: RunFolder) -> Outlook | None:
    """Return what a run would do in a folder."""
    if not folder.records.is_dir() and not folder.stimuli.is_dir():
        return None
    stimuli = plan(manifest)
    records = {stimulus.stimulus_id: _record(folder, stimulus.stimulus_id) for stimulus in stimuli}
    sizes = {
        (record.source.id, record.source.sha256): record.source.original_size
        for record in records.values()
        if record
    }
    hashes = _recipes(manifest, folder, stimuli, _sources(manifest, sizes))
    if hashes is None:
        return None
    keep = make = 0
    for name, record in records.items():
        if not folder.png(name).is_file():
            make += 1
        elif record and record.recipe_sha256 == hashes.get(name):
            keep += 1
    unplanned = len(folder.unplanned_names(records))
    return Outlook(keep, make, len(stimuli) - keep - make, unplanned)


def known_recipes(
    manifest: Manifest, folder: RunFolder, stimuli: Sequence[Stimulus]
) -> dict[str, str] | None:
    """Return the hashes of all recipes by stimulus id, as far as records and caches tell."""
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    for stimulus in {stimulus.source: stimulus for stimulus in stimuli}.values():
        if record := _record(folder, stimulus.stimulus_id):
            sizes[record.source.id, record.source.sha256] = record.source.original_size
    sources = _sources(manifest, sizes)
    if len(sources) < len(manifest.sources):
        return None
    return _recipes(manifest, folder, stimuli, sources)


def _recipes(
    manifest: Manifest, folder: RunFolder, stimuli: Sequence[Stimulus], sources: Mapping[str, _Source]
) -> dict[str, str] | None:
    """Return the hashes of the recipes of known sources; None if weights are not known without reading."""
    networks = folder.read_summary().get("networks")
    recorded = [one for one in networks if isinstance(one, dict)] if isinstance(networks, list) else []
    weights: dict[NetworkSpec, RecordedWeights | None] = {}

    def weights_of(network: NetworkSpec) -> RecordedWeights:
        if network not in weights:
            weights[network] = _weights(network, recorded)
        known = weights[network]
        if known is None:
            raise _UnknownError
        return known

    layers = {network: measured_layers(manifest, network) for network in _measuring(manifest, stimuli)}
    try:
        return {
            stimulus.stimulus_id: recipe_sha256(
                recipe(manifest, stimulus, sources, weights_of, layers[measuring_network(manifest, stimulus)])
            )
            for stimulus in stimuli
            if stimulus.source in sources
        }
    except _UnknownError:
        return None


def _measuring(manifest: Manifest, stimuli: Sequence[Stimulus]) -> set[NetworkSpec]:
    return {measuring_network(manifest, stimulus) for stimulus in stimuli}


class _UnknownError(Exception):
    """The hash of weights is not known without reading them."""


@dataclass(frozen=True)
class _Source:
    """A source as a recipe needs it."""

    id: str
    sha256: str
    crop_box: tuple[int, int, int, int]


def _record(folder: RunFolder, stimulus_id: str) -> Record | None:
    """Return the intact record of a stimulus; None if there is none."""
    record = folder.read_record(stimulus_id)
    own = record and (record.stimulus_id, record.filename) == (stimulus_id, folder.filename(stimulus_id))
    return record if own else None


def _sources(manifest: Manifest, sizes: Mapping[tuple[str, str], tuple[int, int]]) -> dict[str, _Source]:
    """Return the sources whose file is the one that a record was made of.

    `sizes` has the sizes of the images of records, by source id and SHA-256.
    """
    sources = {}
    for spec in manifest.sources:
        content = source_sha256(spec)
        size = sizes.get((spec.id, content)) if content else None
        if content is None or size is None:
            continue
        try:
            box = crop_box(spec, manifest.image, size, name=manifest.name, origin=spec.image)
        except InputError:  # an image that is too small now; the run reports it
            continue
        sources[spec.id] = _Source(spec.id, content, box)
    return sources


def source_sha256(spec: SourceSpec) -> str | None:
    """Return the SHA-256 of a source's file; None if it cannot be read."""
    try:
        path = spec.path or skimage_path(spec.image.removeprefix(SKIMAGE_PREFIX))
        return sha256(path.read_bytes())
    except (InputError, OSError):
        return None


def known_sha256(network: str, weights: str) -> str | None:
    """Return the SHA-256 of the tensors of weights; None if it is not known without reading them."""
    if is_weights_file(weights):
        return None
    try:
        header = read_header(path) if (path := cached_path(network, weights)).is_file() else None
    except (InputError, WeightsError):
        return None
    if header is not None:
        return header.tensors_sha256
    published = published_weights(network, weights)
    return published.tensors_sha256 if published else None


def _weights(network: NetworkSpec, recorded: Sequence[Mapping[str, Any]]) -> RecordedWeights | None:
    """Return the weights that run.json names, if a run would use the same now."""
    known = known_sha256(network.name, network.weights)
    for one in recorded:
        if (one.get("name"), one.get("tensors_sha256")) == (network.name, known):
            convention = RecordedConvention(str(one.get("input")))
            return RecordedWeights(str(known), one.get("weights_normalised") is True, convention)
    return None
