"""The stimuli that a manifest asks for, in a fixed order."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stimgen.errors import InputError
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec


def plan(manifest: Manifest) -> list[Stimulus]:
    """Return every stimulus: textures, then controls, each by source, condition and seed in their order."""
    textures = [
        Stimulus(f"{source.id}-{name}-s{seed}", source.id, name, "texture", seed, layer_set, None)
        for source in manifest.sources
        for name, layer_set in manifest.layer_sets.items()
        for seed in manifest.seeds
    ]
    return textures + [
        Stimulus(
            f"{source.id}-{control.id}" if seed is None else f"{source.id}-{control.id}-s{seed}",
            source.id,
            control.id,
            "control",
            seed,
            None,
            control,
        )
        for source in manifest.sources
        for control in manifest.controls
        for seed in (manifest.seeds if control.seeded else (None,))
    ]


def check_paths(folder: Path, stimuli: Iterable[Stimulus]) -> None:
    """Refuse a run folder in which a file's name or path would be longer than its file system takes."""
    longest = max((stimulus.stimulus_id for stimulus in stimuli), key=len)
    path = folder / "optimised" / f"{longest}.safetensors"
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = max(path.parts, key=lambda part: len(os.fsencode(part)))
            raise InputError(
                f"The path of {longest} in the run folder has {len(os.fsencode(path))} bytes, and a name in "
                f"it {len(os.fsencode(name))}: more than the file system takes. It is {path}",
                "Name another folder with --out, or shorten the ids of sources and conditions.",
            ) from None


def measuring_network(manifest: Manifest, stimulus: Stimulus) -> NetworkSpec:
    """Return the network in which a stimulus is measured: its layer set's own, or else the manifest's."""
    own = stimulus.synthesised if manifest.measure.network == "own" else None
    return own.network if own else manifest.network


@dataclass(frozen=True)
class Stimulus:
    """One image to be made: a texture (with a layer set) or a control (with its options).

    The id is ``source-condition-sSEED``, or ``source-condition`` for a control without randomness, which has
    no seed. No part holds a "-", so different stimuli have different ids.
    """

    stimulus_id: str
    source: str
    condition: str
    kind: Literal["texture", "control"]
    seed: int | None
    layer_set: LayerSet | None
    control: ControlSpec | None

    @property
    def synthesised(self) -> LayerSet | None:
        """The layer set whose synthesis makes the image: its own, or the one that its control refers to."""
        return self.control.layer_set if self.control else self.layer_set
