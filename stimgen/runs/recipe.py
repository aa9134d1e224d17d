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
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np

from stimgen.controls import CONTROLS
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.measure import statistics_in_order

VERSION = 2
"""To be raised when the same recipe comes to mean other pixels."""


class SourceIdentity(Protocol):
    """What a recipe says of a source: a loaded one, or one in a record."""

    @property
    def id(self) -> str:
        """Name of the source."""

    @property
    def sha256(self) -> str:
        """Of the image file."""

    @property
    def crop_box(self) -> tuple[int, int, int, int]:
        """What was cut from it."""


class WeightsIdentity(Protocol):
    """What a recipe says of weights: loaded ones, or those in a record."""

    @property
    def tensors_sha256(self) -> str:
        """Of the tensors."""

    @property
    def normalised(self) -> bool:
        """Whether the filters were normalised already."""

    @property
    def convention(self) -> Named:
        """What input they expect."""


class Named(Protocol):
    """An input convention."""

    @property
    def name(self) -> str:
        """Name of the convention."""


def recipe(
    manifest: Manifest,
    stimulus: Stimulus,
    sources: Mapping[str, SourceIdentity],
    weights_of: Callable[[NetworkSpec], WeightsIdentity],
    measured: tuple[str, ...],
) -> dict[str, Any]:
    """Return the recipe as plain data.

    Parameters
    ----------
    manifest, stimulus
        What is asked for.
    sources
        All sources of the manifest, by id.
    weights_of
        Returns the weights of a network.
    measured
        Layers that are measured.
    """
    network = measuring_network(manifest, stimulus)
    source, control = sources[stimulus.source], stimulus.control
    return {
        "version": VERSION,
        "stimulus_id": stimulus.stimulus_id,
        "seed": stimulus.seed,
        "source": _identity(source),
        "image": {
            "size_px": manifest.image.size_px,
            "size_deg": manifest.image.size_deg,
            "ppd": manifest.image.ppd,
            "color": manifest.image.color,
        },
        "measured_in": _network(network, weights_of(network)),
        "measured": list(measured),
        "stages": {s.name: s.version for s in statistics_in_order() if s.needs_network},
        "matching": manifest.matching.model_dump(mode="json"),
        "texture": _texture(manifest, stimulus.layer_set, weights_of) if stimulus.layer_set else None,
        "control": _control(manifest, control, weights_of) if control else None,
        "source_set": _source_set(tuple((one.id, one.sha256, one.crop_box) for one in sources.values()))
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


class SourceSet(list[dict[str, Any]]):
    """The identities of all sources; `canonical` is their text, made once for all recipes that hold it."""

    @cached_property
    def canonical(self) -> str:
        """The JSON text that goes into the hash."""
        return _canonical(list(self))


@lru_cache(maxsize=4)
def _source_set(identities: tuple[tuple[str, str, tuple[int, int, int, int]], ...]) -> SourceSet:
    return SourceSet({"id": one, "sha256": sha256, "crop_box": list(box)} for one, sha256, box in identities)


def _identity(source: SourceIdentity) -> dict[str, Any]:
    return {"id": source.id, "sha256": source.sha256, "crop_box": list(source.crop_box)}


def _network(network: NetworkSpec, weights: WeightsIdentity) -> dict[str, Any]:
    return {
        "name": network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": weights.convention.name,
        "pooling": network.pooling,
        "normalise": network.normalise,
        "weights_normalised": weights.normalised,
    }


def _texture(
    manifest: Manifest, layer_set: LayerSet, weights_of: Callable[[NetworkSpec], WeightsIdentity]
) -> dict[str, Any]:
    return {
        "network": _network(layer_set.network, weights_of(layer_set.network)),
        "layer_weights": dict(layer_set.layer_weights),
        "components": layer_set.components,
        "settings": manifest.synthesis.model_dump(mode="json"),
        "preset_version": manifest.synthesis.version,
    }


def _control(
    manifest: Manifest, control: ControlSpec, weights_of: Callable[[NetworkSpec], WeightsIdentity]
) -> dict[str, Any]:
    ingredients: dict[str, Any] = {"name": control.name, "options": dict(control.options)}
    if control.layer_set:
        ingredients |= {"texture": _texture(manifest, control.layer_set, weights_of)}
    return ingredients


def recipe_sha256(ingredients: dict[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of a recipe."""
    parts = (
        f"{_canonical(key)}:{value.canonical if isinstance(value, SourceSet) else _canonical(value)}"
        for key, value in sorted(ingredients.items())
    )
    return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stimulus_generator(stimulus: Stimulus, purpose: str) -> np.random.Generator:
    """Return the random generator of a stimulus for one purpose ("make", "match").

    It depends on the source's id, the condition's name and the seed alone, so that adding a source or a
    condition to a manifest changes the random numbers of no other stimulus.
    """
    return generator(purpose, stimulus.source, stimulus.condition, str(stimulus.seed))


def generator(*words: str) -> np.random.Generator:
    """Return the random generator that belongs to some words: their SHA-256 seeds it."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest(), "big"))
