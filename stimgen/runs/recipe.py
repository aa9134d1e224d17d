"""The recipe of a stimulus: everything that its pixels and what is measured on them depend on.

It has four parts (`stimgen.runs.record.Recipe`), so that a change of what comes after the synthesis does not
synthesise again.

Names and places of files are not part of it: the same bytes under another name make the same stimulus.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.images.masks import mask_identity
from stimgen.images.read import SKIMAGE_PREFIX, skimage_path
from stimgen.images.sources import SourceSpec, crop_box
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolve import is_weights_file
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import statistics_in_order
from stimgen.networks.architectures import CONVENTIONS, published_weights
from stimgen.networks.weights import WeightsError
from stimgen.networks.weights.cache import cached_path, read_header
from stimgen.runs.batches import measured_layers
from stimgen.runs.record import Recipe
from stimgen.runs.steps import STEPS, Step, next_step
from stimgen.runs.store import RunFolder, sha256

VERSION = 4
"""To be raised when the same recipe comes to mean other pixels before they are matched."""
MATCHING_VERSION = 1
"""To be raised when the same matching comes to mean other pixels."""
DISTANCES = {"gram": 1}
"""To be raised when Gram losses and relative distances of the same image come to have other values."""

IDENTITY = ("id", "sha256", "crop_box", "white", "linearise", "mask")
"""What of a source stimuli depend on."""


def _identity(source: Any) -> tuple[object, ...]:
    return tuple(getattr(source, name) for name in IDENTITY)


def matching_in_synthesis(manifest: Manifest, stimulus: Stimulus) -> dict[str, Any]:
    """Return the part of section `matching` that the synthesis of a stimulus depends on.

    Changes of the others leave the optimised image what it is.
    """
    name = manifest.confined_to
    if name is None or stimulus.synthesised is None:
        return {}
    return {name: getattr(manifest.matching, name), "channels": manifest.matching.channels}


def recipe(
    manifest: Manifest,
    stimulus: Stimulus,
    sources: Mapping[str, Any],
    weights_of: Callable[[NetworkSpec], Any],
    measured: Mapping[str, str],
) -> Recipe:
    """Return the recipe of a stimulus.

    `sources` are all sources of the manifest by id, with the attributes `IDENTITY`. `weights_of` returns
    the weights of a network, with `tensors_sha256`, `normalised` and the name of their `convention`.
    `measured` are the parts that `measured_parts` returns.
    """
    source, control, ingredients = sources[stimulus.source], stimulus.control, None
    if control is not None:
        ingredients = {"name": control.name, "options": dict(control.options)}
        if CONTROLS[control.name].uses_set:
            ingredients |= {"channels": manifest.matching.channels}
        if control.layer_set:
            ingredients |= {"texture": _texture(manifest, control.layer_set, weights_of)}
    inside = matching_in_synthesis(manifest, stimulus)
    optimised = {
        "version": VERSION,
        "stimulus_id": stimulus.stimulus_id,
        "seed": stimulus.seed,
        "source": dict(zip(IDENTITY, _identity(source), strict=True)),
        "image": {name: getattr(manifest.image, name) for name in ("size_px", "color")},
        "texture": _texture(manifest, stimulus.layer_set, weights_of) if stimulus.layer_set else None,
        "control": ingredients,
        "matching": inside,
        "source_set": _set_sha256(sources) if _makes_of_set(stimulus, inside) else None,
    }
    matching = {
        "version": MATCHING_VERSION,
        "bits": manifest.image.bits,
        "matching": manifest.matching.model_dump(mode="json"),
        "source_set": _set_sha256(sources) if "set" in manifest.matching.asked.values() else None,
    }
    return Recipe(optimised=_sha256_of(optimised), matching=_sha256_of(matching), **measured)


def measured_parts(
    manifest: Manifest, network: NetworkSpec, weights: Any, layers: tuple[str, ...]
) -> dict[str, str]:
    """Return the parts of recipes that say what is measured, in this network and on these layers."""
    distances = {
        "measured_in": _network(network, weights),
        "measured": list(layers),
        "versions": DISTANCES,
    }
    statistics = {
        "image": {name: getattr(manifest.image, name) for name in ("size_deg", "ppd")},
        "measured_with": measured_with(manifest),
    }
    return {"distances": _sha256_of(distances), "statistics": _sha256_of(statistics)}


def measured_with(manifest: Manifest) -> dict[str, int]:
    """Return the statistics that the stimuli of a manifest are measured in, with their versions."""
    return {s.name: s.version for s in statistics_in_order(manifest.measure.model_dump())}


def uses_set(manifest: Manifest, stimulus: Stimulus) -> bool:
    """Return whether a stimulus depends on all sources of the manifest."""
    inside = matching_in_synthesis(manifest, stimulus)
    return "set" in manifest.matching.asked.values() or _makes_of_set(stimulus, inside)


def _makes_of_set(stimulus: Stimulus, matching: Mapping[str, Any]) -> bool:
    control = stimulus.control
    return "set" in matching.values() or bool(control and CONTROLS[control.name].uses_set)


def _set_sha256(sources: Mapping[str, Any]) -> str:
    return _tuple_sha256(tuple(map(_identity, sources.values())))


@lru_cache(maxsize=4)
def _tuple_sha256(identities: tuple[tuple[object, ...], ...]) -> str:
    """Return the hash of the identities of all sources, computed once for all stimuli."""
    return _sha256_of(identities)


def _network(network: NetworkSpec, weights: Any) -> dict[str, Any]:
    return {
        "name": network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": weights.convention.name,
        "pooling": network.pooling,
        "padding": network.padding,
        "normalise": network.normalise,
        "weights_normalised": weights.normalised,
    }


def _texture(
    manifest: Manifest, layer_set: LayerSet, weights_of: Callable[[NetworkSpec], Any]
) -> dict[str, Any]:
    return {
        "network": _network(layer_set.network, weights_of(layer_set.network)),
        "layer_weights": dict(layer_set.layer_weights),
        "components": layer_set.components,
        "settings": manifest.synthesis.model_dump(mode="json"),
        "preset_version": manifest.synthesis.version,
    }


def recipes(
    manifest: Manifest,
    stimuli: Iterable[Stimulus],
    sources: Mapping[str, Any],
    weights_of: Callable[[NetworkSpec], Any],
) -> dict[str, Recipe]:
    """Return recipes by stimulus id."""
    measured: dict[NetworkSpec, dict[str, str]] = {}
    found = {}
    for stimulus in stimuli:
        network = measuring_network(manifest, stimulus)
        if network not in measured:
            layers = measured_layers(manifest, network)
            measured[network] = measured_parts(manifest, network, weights_of(network), layers)
        found[stimulus.stimulus_id] = recipe(manifest, stimulus, sources, weights_of, measured[network])
    return found


def _sha256_of(ingredients: object) -> str:
    """Return the hexadecimal SHA-256 of plain data: of its JSON without spaces, keys in order."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def stimulus_generator(stimulus: Stimulus, purpose: str) -> np.random.Generator:
    """Return the random generator of a stimulus for one purpose ("make", "match").

    It depends on the source's id, the condition's name and the seed alone, so that adding a source or a
    condition to a manifest changes the random numbers of no other stimulus.
    """
    return generator(purpose, stimulus.source, stimulus.condition, str(stimulus.seed))


def generator(*words: str) -> np.random.Generator:
    """Return the random generator that belongs to some words: their SHA-256 seeds it."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest(), "big"))


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
    white: int | None
    linearise: str
    mask: str | None


@dataclass(frozen=True)
class Outlook:
    """What a run would do with the stimuli of a manifest, and how many others there are.

    `steps` counts the stimuli by their `stimgen.runs.store.Step`, and `to_make` are the ids of those that are
    made from the start. Of these, `replace` are there already.
    """

    steps: Counter[Step]
    to_make: frozenset[str]
    replace: int
    unplanned: int


def steps_in_words(steps: Mapping[Step, int]) -> str:
    """Return how many stimuli there are for each step.

    Examples
    --------
    >>> steps_in_words(Counter(["keep", "match", "match"]))
    'to keep 1, to measure again 0, to match again 2, to synthesise 0'
    """
    words = {"keep": "keep", "measure": "measure again", "match": "match again", "synthesise": "synthesise"}
    return ", ".join(f"to {words[step]} {steps.get(step, 0)}" for step in STEPS)


def outlook(manifest: Manifest, folder: RunFolder) -> Outlook | None:
    """Return what a run would do in a folder; None if there is no run, or weights would have to be read.

    Files are not compared with their hashes.
    """
    if not folder.records.is_dir() and not folder.stimuli.is_dir():
        return None
    stimuli = plan(manifest)
    known = known_recipes(manifest, folder, stimuli)
    if known is None:
        return None
    names = [stimulus.stimulus_id for stimulus in stimuli]
    steps = {name: next_step(folder, name, known.get(name), compare=False)[0] for name in names}
    to_make = frozenset(name for name, step in steps.items() if step == "synthesise")
    replace = sum(folder.png(name).is_file() for name in to_make)
    return Outlook(Counter(steps.values()), to_make, replace, len(folder.unplanned_names(names)))


def known_recipes(
    manifest: Manifest, folder: RunFolder, stimuli: Sequence[Stimulus]
) -> dict[str, Recipe] | None:
    """Return recipes by stimulus id; None if weights are not known without reading them.

    Stimuli of sources that no record is made of are left out; the set with these is one that is not known.
    """
    found = (_source(manifest, spec, folder, stimuli) for spec in manifest.sources)
    sources = {source.id: source for source in found if source}
    used = {stimulus.synthesised.network for stimulus in stimuli if stimulus.synthesised}
    used |= {measuring_network(manifest, stimulus) for stimulus in stimuli}
    weights = {network: known_weights(network.name, network.weights) for network in used}
    if None in weights.values():
        return None
    those = [stimulus for stimulus in stimuli if stimulus.source in sources]
    names = {spec.id for spec in manifest.sources} - sources.keys()
    unknown = dict.fromkeys(names, SimpleNamespace(**dict.fromkeys(IDENTITY)))
    return recipes(manifest, those, {**sources, **unknown}, weights.__getitem__)


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
        return _Source(spec.id, content, box, spec.white, spec.linearise, mask_identity(spec.mask))
    except InputError:  # an image that is too small now, or a mask that is gone; the run reports it
        return None


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
