"""What a run of a manifest would find in its folder: read from the records, without torch or weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, skimage_path
from stimgen.images.sources import SourceSpec, crop_box
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolve import is_weights_file
from stimgen.manifest.resolved import Manifest
from stimgen.networks.architectures import CONVENTIONS, published_weights
from stimgen.networks.weights import WeightsError
from stimgen.networks.weights.cache import cached_path, read_header
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import recipe, recipe_sha256
from stimgen.runs.store import RunFolder, sha256


class RecordedConvention(NamedTuple):
    """An input convention as a record names it."""

    name: str


class RecordedWeights(NamedTuple):
    """Weights as a record names them."""

    tensors_sha256: str
    normalised: bool
    convention: RecordedConvention


class _Source(NamedTuple):
    """A source as a recipe needs it."""

    id: str
    sha256: str
    crop_box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Outlook:
    """How many stimuli of a manifest a run would keep, make, and replace; and how many others there are."""

    keep: int
    make: int
    replace: int
    unplanned: int


def outlook(manifest: Manifest, folder: RunFolder) -> Outlook | None:
    """Return what a run would do in a folder; None if there is no run, or weights would have to be read."""
    if not folder.records.is_dir() and not folder.stimuli.is_dir():
        return None
    stimuli = plan(manifest)
    hashes = known_recipes(manifest, folder, stimuli)
    if hashes is None:
        return None
    keep = make = 0
    for name in (stimulus.stimulus_id for stimulus in stimuli):
        if not folder.png(name).is_file():
            make += 1
        elif (record := folder.read_record(name)) and record.recipe_sha256 == hashes.get(name):
            keep += 1
    unplanned = folder.unplanned_names([stimulus.stimulus_id for stimulus in stimuli])
    return Outlook(keep, make, len(stimuli) - keep - make, len(unplanned))


def known_recipes(
    manifest: Manifest, folder: RunFolder, stimuli: Sequence[Stimulus]
) -> dict[str, str] | None:
    """Return the hashes of recipes by stimulus id; None if weights are not known without reading them.

    Stimuli of sources that no record is made of are left out.
    """
    found = (_source(manifest, spec, folder, stimuli) for spec in manifest.sources)
    sources = {source.id: source for source in found if source}
    measuring = {stimulus.stimulus_id: measuring_network(manifest, stimulus) for stimulus in stimuli}
    used = {stimulus.synthesised.network for stimulus in stimuli if stimulus.synthesised}
    networks = used | {*measuring.values()}
    weights = {network: known_weights(network.name, network.weights) for network in networks}
    known = {network: of_network for network, of_network in weights.items() if of_network}
    if len(known) < len(weights):
        return None
    layers = {network: measured_layers(manifest, network) for network in {*measuring.values()}}
    hashes = {}
    for stimulus in stimuli:
        if stimulus.source in sources:
            measured = layers[measuring[stimulus.stimulus_id]]
            ingredients = recipe(manifest, stimulus, sources, known.__getitem__, measured)
            hashes[stimulus.stimulus_id] = recipe_sha256(ingredients)
    return hashes


def _source(
    manifest: Manifest, spec: SourceSpec, folder: RunFolder, stimuli: Sequence[Stimulus]
) -> _Source | None:
    """Return a source whose file a record is made of; None if there is no such record, or no such file."""
    names = (stimulus.stimulus_id for stimulus in stimuli if stimulus.source == spec.id)
    records = (record for record in map(folder.read_record, names) if record)
    first = next(records, None)
    if first is None:  # and the file need not be read
        return None
    content = source_sha256(spec)
    alike = (one for one in itertools.chain([first], records) if one.source.sha256 == content)
    size = next((one.source.original_size for one in alike), None)
    if content is None or size is None:
        return None
    try:
        box = crop_box(spec, manifest.image, size, name=manifest.name, origin=spec.image)
    except InputError:  # an image that is too small now; the run reports it
        return None
    return _Source(spec.id, content, box)


def source_sha256(spec: SourceSpec) -> str | None:
    """Return the SHA-256 of a source's file; None if it cannot be read."""
    try:
        path = spec.path or skimage_path(spec.image.removeprefix(SKIMAGE_PREFIX))
        return sha256(path.read_bytes()) if path.is_file() else None
    except (InputError, OSError):
        return None


def known_weights(network: str, weights: str) -> RecordedWeights | None:
    """Return weights as a run would load them; None if they are not known without reading them."""
    if is_weights_file(weights):
        return None
    try:
        header = read_header(path) if (path := cached_path(network, weights)).is_file() else None
    except (InputError, WeightsError):
        return None
    if header is not None:
        convention = RecordedConvention(header.convention.name)
        return RecordedWeights(header.tensors_sha256, header.normalised, convention)
    published = published_weights(network, weights)
    if published is None or published.tensors_sha256 is None:
        return None
    convention = RecordedConvention(CONVENTIONS[published.convention].in_rgb().name)
    return RecordedWeights(published.tensors_sha256, False, convention)
