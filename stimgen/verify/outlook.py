"""What a run of a manifest would find in its folder: read from the records, without torch or weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stimgen.errors import InputError
from stimgen.images.read import SKIMAGE_PREFIX, skimage_path
from stimgen.images.sources import crop_box
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolved import Manifest, SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import recipe, recipe_sha256
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256
from stimgen.verify.materials import known_sha256
from stimgen.verify.records import RecordedConvention, RecordedWeights


@dataclass(frozen=True)
class Outlook:
    """How many stimuli of a manifest a run would keep, make, and make again.

    Attributes
    ----------
    keep
        Done, unless their PNG files were altered, which is not looked at.
    make
        Not there.
    replace
        There, and made with other settings, of another source file, or without a record as it was written.
    strangers
        There, and not asked for.
    """

    keep: int
    make: int
    replace: int
    strangers: int


def outlook(manifest: Manifest, folder: RunFolder) -> Outlook | None:
    """Return what a run would do in a folder.

    Returns
    -------
    Outlook or None
        None if there is no run in the folder, or if it cannot be told without reading weights.
    """
    if not folder.records.is_dir() and not folder.stimuli.is_dir():
        return None
    stimuli = plan(manifest)
    recipes: dict[str, str | None] = {}
    recorded: dict[tuple[str, str], tuple[int, int]] = {}
    for stimulus in stimuli:
        record = _record(folder, stimulus.stimulus_id)
        recipes[stimulus.stimulus_id] = record.recipe_sha256 if record else None
        if record:
            recorded[record.source.id, record.source.sha256] = record.source.original_size
    sources = _sources(manifest, recorded)
    weights: dict[NetworkSpec, RecordedWeights | None] = {}
    said = folder.read_summary().get("networks")
    named = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []

    def weights_of(network: NetworkSpec) -> RecordedWeights:
        if network not in weights:
            weights[network] = _weights(network, named)
        known = weights[network]
        if known is None:
            raise _UnknownError
        return known

    keep = make = replace = 0
    for stimulus in stimuli:
        there = (folder.png(stimulus.stimulus_id)).is_file()
        recipe_there = recipes[stimulus.stimulus_id]
        try:
            if there and recipe_there and recipe_there == _hash(manifest, stimulus, sources, weights_of):
                keep += 1
            elif there:
                replace += 1
            else:
                make += 1
        except _UnknownError:
            return None
    return Outlook(keep, make, replace, len(folder.strange_names(recipes)))


class _UnknownError(Exception):
    """The hash of weights is not known without reading them."""


@dataclass(frozen=True)
class _Source:
    """A source as a recipe needs it."""

    id: str
    sha256: str
    crop_box: tuple[int, int, int, int]


def _hash(
    manifest: Manifest, stimulus: Stimulus, sources: Mapping[str, _Source], weights_of: Any
) -> str | None:
    if stimulus.source not in sources:
        return None
    layers = measured_layers(manifest, measuring_network(manifest, stimulus))
    return recipe_sha256(recipe(manifest, stimulus, sources, weights_of, layers))


def _record(folder: RunFolder, stimulus_id: str) -> Record | None:
    """Return the record of a stimulus as it was written; None if there is none."""
    record = folder.read_record(stimulus_id)
    own = record and (record.stimulus_id, record.filename) == (stimulus_id, folder.filename(stimulus_id))
    return record if own else None


def _sources(manifest: Manifest, recorded: Mapping[tuple[str, str], tuple[int, int]]) -> dict[str, _Source]:
    """Return the sources whose file is the one that a record was made of; stimuli of others are replaced.

    `recorded` has the sizes of the images of records, by source and SHA-256.
    """
    sources = {}
    for spec in manifest.sources:
        content = _sha256_of(spec)
        size = recorded.get((spec.id, content)) if content else None
        if content is None or size is None:
            continue
        try:
            box = crop_box(spec, manifest.image, size, name=manifest.name, origin=spec.image)
        except InputError:  # an image that is too small now; the run says so
            continue
        sources[spec.id] = _Source(spec.id, content, box)
    return sources


def _sha256_of(spec: SourceSpec) -> str | None:
    try:
        path = spec.path or skimage_path(spec.image.removeprefix(SKIMAGE_PREFIX))
        return sha256(path.read_bytes())
    except (InputError, OSError):
        return None


def _weights(network: NetworkSpec, named: list[dict[str, Any]]) -> RecordedWeights | None:
    """Return weights as the earlier run knew them, if those that a run would use now are the same."""
    known = known_sha256(network.name, network.weights)
    for one in named:
        if (one.get("name"), one.get("tensors_sha256")) == (network.name, known):
            convention = RecordedConvention(str(one.get("input")))
            return RecordedWeights(str(known), one.get("weights_normalised") is True, convention)
    return None
