"""A manifest with nothing left open: files found, defaults filled in, a network for every layer set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stimgen.images.sources import ImageSpec, SourceSpec
from stimgen.manifest.schema import VERSION, AcceptSpec, MatchingSpec, MeasureSpec, NetworkSpec
from stimgen.networks.architectures import NETWORKS
from stimgen.texture.presets import Gatys2015, Multiscale, Stage, gram_parameters, stages
from stimgen.trials import TrialOptions


@dataclass(frozen=True)
class LayerSet:
    """A condition that is synthesised: layers in the network's order, whose statistics are matched.

    `components` is the number of principal components per layer that are matched; None for all channels.
    """

    name: str
    layers: tuple[str, ...]
    layer_weights: Mapping[str, float] = field(hash=False)
    network: NetworkSpec
    components: int | None = None

    @property
    def parameters(self) -> int:
        """Number of different numbers in the Gram matrices: N (N + 1) / 2 of each layer with N channels.

        With components, of each layer with as many as it has (Gatys, Ecker & Bethge 2015, Fig. 3A).
        """
        architecture = NETWORKS[self.network.name]()
        channels = [architecture.channels(layer) for layer in self.layers]
        if self.components is not None:
            channels = [min(count, self.components) for count in channels]
        return sum(map(gram_parameters, channels))


@dataclass(frozen=True)
class ControlSpec:
    """A condition that is a control, with all its options; unless it is seeded, with one image per source."""

    id: str
    name: str
    seeded: bool
    options: Mapping[str, Any] = field(hash=False)
    layer_set: LayerSet | None = None


@dataclass(frozen=True)
class TrialsSpec:
    """A trial list: the name of its file, its design, and all options of the design."""

    id: str
    design: str
    options: TrialOptions = field(hash=False)


@dataclass(frozen=True)
class Manifest:
    """What to make, with every default filled in and every file found.

    `path` is the file as the user named it, `folder` its absolute folder, `content` its bytes as they were
    read. `overrides` are what the command line replaced: "network", a name, and "seeds", a list.
    """

    path: Path
    folder: Path
    name: str
    description: str
    image: ImageSpec
    sources: tuple[SourceSpec, ...]
    network: NetworkSpec
    layer_sets: Mapping[str, LayerSet]
    seeds: tuple[int, ...]
    synthesis: Multiscale | Gatys2015
    controls: tuple[ControlSpec, ...]
    matching: MatchingSpec
    measure: MeasureSpec
    accept: AcceptSpec
    trials: tuple[TrialsSpec, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False, compare=False)

    @property
    def output(self) -> Path:
        """Default run folder: results/NAME in the manifest's folder.

        For a manifest anywhere below a folder called "manifests", beside that folder.
        """
        folders = (self.folder, *self.folder.parents)
        above = (folder.parent for folder in folders if folder.name == "manifests")
        return next(above, self.folder) / "results" / self.name

    @property
    def confined_to(self) -> str | None:
        """What textures are matched to while they are synthesised: an entry of the section `matching`.

        Where several are asked for, it is the one that is exact in the end. `gatys2015` matches afterwards,
        as published.
        """
        exact_first = reversed(self.matching.asked)
        return None if isinstance(self.synthesis, Gatys2015) else next(exact_first, None)

    def stages(self, layer_set: LayerSet) -> tuple[Stage, ...]:
        """Return the stages in which textures of a layer set are synthesised."""
        architecture, confined = NETWORKS[layer_set.network.name](), self.confined_to is not None
        layers, size_px = layer_set.layers, self.image.size_px
        return stages(self.synthesis, architecture, layers, size_px, confined=confined)

    def resolved(self, folder: Path | None = None) -> dict[str, Any]:
        """Return the manifest with every default spelt out, in plain data that YAML can hold.

        Written to a file in `folder`, it loads again to an equal plan.
        """
        base = (folder or self.folder).resolve()
        data = {
            "stimgen": VERSION,
            "name": self.name,
            "description": self.description,
            "image": {key: value for key, value in vars(self.image).items() if value is not None},
            "sources": [
                {
                    "id": source.id,
                    "image": source.image if source.path is None else _relative(source.path, base),
                    "crop": source.crop,
                    "linearise": source.linearise,
                    **({"white": source.white} if source.white else {}),
                    **({"mask": _mask(source.mask, base)} if source.mask else {}),
                }
                for source in self.sources
            ],
            "network": _network(self.network, base),
            "layer_sets": {name: self._layer_set(entry, base) for name, entry in self.layer_sets.items()},
            "seeds": self.seeds,
            "synthesis": self.synthesis.model_dump(),
            "controls": [
                {"name": control.name, "id": control.id, **control.options} for control in self.controls
            ],
            "matching": self.matching.model_dump(),
            "measure": self.measure.model_dump(),
            "accept": self.accept.model_dump(exclude_none=True),
            "trials": [
                {
                    "design": spec.design,
                    "id": spec.id,
                    **spec.options.model_dump(mode="json", exclude_none=True),
                }
                for spec in self.trials
            ],
        }
        return dict(json.loads(json.dumps(data)))

    def _layer_set(self, entry: LayerSet, base: Path) -> dict[str, Any]:
        spelt: dict[str, Any] = {"layers": entry.layers, "layer_weights": entry.layer_weights}
        if entry.components is not None:
            spelt["components"] = entry.components
        if entry.network != self.network:
            spelt["network"] = _network(entry.network, base)
        return spelt


def _network(network: NetworkSpec, base: Path) -> dict[str, Any]:
    weights = Path(network.weights)
    return network.model_dump() | ({"weights": _relative(weights, base)} if weights.is_absolute() else {})


def _mask(mask: Path | str, base: Path) -> str:
    return mask if isinstance(mask, str) else _relative(mask, base)


def _relative(path: Path, base: Path) -> str:
    """Return `path` relative to `base`, always with a separator, so that no file is taken for a name."""
    try:
        relative = Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # another drive on Windows
        return path.as_posix()
    return relative if relative.startswith("../") else f"./{relative}"
