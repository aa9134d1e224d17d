"""The recipe of a stimulus: everything that its pixels depend on, and what cannot be measured on them again.

Gram distances are measured at stages before the file is written, so the network that measures and its layers
are part of the recipe. Other statistics are not: where they have changed, the file is measured again
(`measured_with`).

Names and places of files are not part of it: the same bytes under another name make the same stimulus.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from stimgen.controls import CONTROLS
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import statistics_in_order

VERSION = 2
"""To be raised when the same recipe comes to mean other pixels."""


def recipe(
    manifest: Manifest,
    stimulus: Stimulus,
    sources: Mapping[str, Any],
    weights_of: Callable[[NetworkSpec], Any],
    measured: tuple[str, ...],
) -> dict[str, Any]:
    """Return the recipe as plain data.

    `sources` are all sources of the manifest by id, with `id`, `sha256` and `crop_box`. `weights_of` returns
    the weights of a network, with `tensors_sha256`, `normalised` and the name of their `convention`.
    `measured` are the layers that are measured.
    """
    network = measuring_network(manifest, stimulus)
    source, control = sources[stimulus.source], stimulus.control
    return {
        "version": VERSION,
        "stimulus_id": stimulus.stimulus_id,
        "seed": stimulus.seed,
        "source": _identity(source),
        "image": {name: getattr(manifest.image, name) for name in ("size_px", "size_deg", "ppd", "color")},
        "measured_in": _network(network, weights_of(network)),
        "measured": list(measured),
        "stages": {s.name: s.version for s in statistics_in_order() if s.needs_network},
        "matching": manifest.matching.model_dump(mode="json"),
        "texture": _texture(manifest, stimulus.layer_set, weights_of) if stimulus.layer_set else None,
        "control": _control(manifest, control, weights_of) if control else None,
        "source_set": _set_sha256(tuple((one.id, one.sha256, one.crop_box) for one in sources.values()))
        if uses_set(manifest, stimulus)
        else None,
    }


def measured_with(manifest: Manifest) -> dict[str, int]:
    """Return the statistics that the stimuli of a manifest are measured in, with their versions."""
    return {s.name: s.version for s in statistics_in_order(manifest.measure.model_dump())}


def uses_set(manifest: Manifest, stimulus: Stimulus) -> bool:
    """Return whether a stimulus depends on all sources of the manifest."""
    control = stimulus.control
    return "set" in manifest.matching.asked.values() or bool(control and CONTROLS[control.name].uses_set)


@lru_cache(maxsize=4)
def _set_sha256(identities: tuple[tuple[str, str, tuple[int, int, int, int]], ...]) -> str:
    """Return the hash of the identities of all sources, computed once for all stimuli."""
    return recipe_sha256(identities)


def _identity(source: Any) -> dict[str, Any]:
    return {"id": source.id, "sha256": source.sha256, "crop_box": list(source.crop_box)}


def _network(network: NetworkSpec, weights: Any) -> dict[str, Any]:
    return {
        "name": network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": weights.convention.name,
        "pooling": network.pooling,
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


def _control(
    manifest: Manifest, control: ControlSpec, weights_of: Callable[[NetworkSpec], Any]
) -> dict[str, Any]:
    ingredients: dict[str, Any] = {"name": control.name, "options": dict(control.options)}
    if control.layer_set:
        ingredients |= {"texture": _texture(manifest, control.layer_set, weights_of)}
    return ingredients


def recipe_sha256(ingredients: object) -> str:
    """Return the hexadecimal SHA-256 of a recipe: of its JSON without spaces, keys in order."""
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
