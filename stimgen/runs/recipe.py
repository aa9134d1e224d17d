"""The recipe of a stimulus: everything that its pixels and statistics depend on.

Names and places of files are not part of it: the same bytes under another name make the same stimulus.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from stimgen.images.sources import Source
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.resolved import Manifest
from stimgen.networks.weights import Weights

VERSION = 1
"""To be raised when the same recipe comes to mean other pixels."""


def recipe(
    manifest: Manifest, stimulus: Stimulus, source: Source, weights: Weights, measured: tuple[str, ...]
) -> dict[str, Any]:
    """Return the recipe as plain data.

    Parameters
    ----------
    manifest, stimulus
        What is asked for.
    source
        The loaded source.
    weights
        Weights of the network that makes the stimulus, or for a control measures it.
    measured
        Layers that are measured.
    """
    network = stimulus.layer_set.network if stimulus.layer_set else manifest.network
    return {
        "version": VERSION,
        "stimulus_id": stimulus.stimulus_id,
        "seed": stimulus.seed,
        "source": {"id": source.id, "sha256": source.sha256, "crop_box": list(source.crop_box)},
        "image": {
            "size_px": manifest.image.size_px,
            "size_deg": manifest.image.size_deg,
            "ppd": manifest.image.ppd,
            "color": manifest.image.color,
        },
        "network": {
            "name": network.name,
            "tensors_sha256": weights.tensors_sha256,
            "input": weights.convention.name,
            "pooling": network.pooling,
            "normalise": network.normalise,
        },
        "measured": list(measured),
        "histogram": manifest.matching.histogram,
        "texture": None
        if stimulus.layer_set is None
        else {
            "layer_weights": dict(stimulus.layer_set.layer_weights),
            "settings": manifest.synthesis.model_dump(mode="json"),
            "preset_version": manifest.synthesis.version,
        },
        "control": None
        if stimulus.control is None
        else {"name": stimulus.control.name, "options": dict(stimulus.control.options)},
    }


def recipe_sha256(ingredients: dict[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of a recipe."""
    canonical = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def generator(stimulus: Stimulus, purpose: str) -> np.random.Generator:
    """Return the random generator of a stimulus for one purpose ("make", "match").

    It depends on the source's id, the condition's name and the seed alone, so that adding a source or a
    condition to a manifest changes the random numbers of no other stimulus.
    """
    key = "\0".join([purpose, stimulus.source, stimulus.condition, str(stimulus.seed)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest(), "big"))
