"""What a run needs before anything is made: sources, networks and recipes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from stimgen.controls import CONTROLS
from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.errors import InputError
from stimgen.images.masks import Inside
from stimgen.images.pixels import Image, plane_if_grey
from stimgen.images.sources import Photograph, Source, load_photograph, load_source
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.resolved import ControlSpec, LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.matching.apply import Reference, Targets, clip_to_display
from stimgen.measure import DecodedImage, prepare_source
from stimgen.measure.gram import SourceGrams, source_grams
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import Weights, find_weights
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import generator, recipes
from stimgen.runs.record import ControlRecord, NetworkRecord, Recipe
from stimgen.texture.problem import SourceImage
from stimgen.texture.statistic import Term, weighted_terms
from stimgen.texture.statistics.gram import principal_components

POWER_DIGITS = 6
"""Significant digits of the power in a record: a file of 2048 px has two thousand numbers of it."""
CEILING_SCRAMBLES = 5
"""Phase-scrambled versions of a source whose mean distance is the ceiling of Gram distances."""


def scrambled_versions(source: Image) -> list[Image]:
    """Return the phase-scrambled versions of a source on which the ceiling of Gram distances is measured."""
    generators = [generator("ceiling", str(number)) for number in range(CEILING_SCRAMBLES)]
    return [clip_to_display(phase_scrambled(source, rng))[0] for rng in generators]


def crops_around(source: Source, photograph: Callable[[], Photograph]) -> list[Image]:
    """Return the quarters of the square of twice the source's side around it, each as large as the source.

    The square lies within the photograph, as near to the source as possible. There are none where the file
    has no room for it or the source has a mask, and the photograph is not read then.
    """
    box, size = source.crop_box, source.original_size
    if min(size) < 2 * box.width or source.inside is not None:
        return []
    top, left = (
        min(max(edge - box.width // 2, 0), side - 2 * box.width)
        for edge, side in zip((box.top, box.left), size, strict=True)
    )
    whole, edges = photograph(), (0, box.width)
    return [whole.crop(left + right, top + down) for down in edges for right in edges]


class Networks:
    """Weights, extractors and the sources' Gram matrices, each made when first asked for."""

    def __init__(self, manifest: Manifest, device: str) -> None:
        self.device = device
        self._lock = threading.RLock()  # several stimuli may be computed at once
        self._manifest = manifest
        self._weights: dict[tuple[str, str], Weights] = {}
        self._extractors: dict[NetworkSpec, FeatureExtractor] = {}
        self._bases: dict[tuple[NetworkSpec, tuple[str, ...], int], dict[str, Tensor]] = {}
        self._grams: dict[tuple[NetworkSpec, str], SourceGrams] = {}

    def weights(self, network: NetworkSpec) -> Weights:
        """Return the weights of a network."""
        key = (network.name, network.weights)
        with self._lock:
            if key not in self._weights:
                self._weights[key] = find_weights(*key)
            return self._weights[key]

    def extractor(self, network: NetworkSpec) -> FeatureExtractor:
        """Return the float32 extractor, cut off below the deepest layer that is measured."""
        with self._lock:
            if network not in self._extractors:
                deepest = NETWORKS[network.name]().deepest(measured_layers(self._manifest, network))
                self._extractors[network] = build_extractor(
                    self.weights(network),
                    pooling=network.pooling,
                    padding=network.padding,
                    normalise=network.normalise,
                    device=self.device,
                    deepest=deepest,
                )
            return self._extractors[network]

    def bases(self, layer_set: LayerSet) -> Mapping[str, Tensor]:
        """Return the principal components of the layers of a layer set; none for all channels."""
        if layer_set.components is None:
            return {}
        key = (layer_set.network, layer_set.layers, layer_set.components)
        if key not in self._bases:
            extractor = self.extractor(layer_set.network)
            self._bases[key] = principal_components(extractor, layer_set.layers, layer_set.components)
        return self._bases[key]

    def grams(self, network: NetworkSpec, source: Source) -> SourceGrams:
        """Return what images are compared with on all measured layers."""
        key = (network, source.id)
        with self._lock:
            if key not in self._grams:
                manifest = self._manifest
                spec = next(entry for entry in manifest.sources if entry.id == source.id)
                self._grams[key] = source_grams(
                    self.extractor(network),
                    source.pixels,
                    measured_layers(manifest, network),
                    scrambled_versions(source.pixels) if source.inside is None else (),
                    crops_around(source, lambda: load_photograph(spec, manifest.image, source)),
                    source.inside,
                )
            return self._grams[key]

    def record(self, network: NetworkSpec) -> NetworkRecord:
        """Return what the records say of a network."""
        weights = self.weights(network)
        return NetworkRecord(
            name=network.name,
            weights=Path(network.weights).name,
            weights_origin=weights.origin,
            file_sha256=weights.file_sha256,
            tensors_sha256=weights.tensors_sha256,
            input=weights.convention.name,
            pooling=network.pooling,
            padding=network.padding,
            normalise=network.normalise,
            weights_normalised=weights.normalised,
        )


@dataclass(frozen=True)
class SourceMeasures:
    """What all stimuli of a source are compared with: by statistic, and the power spectrum as in records."""

    prepared: Mapping[str, Any]
    power: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Manifest, source: Source) -> SourceMeasures:
        """Measure a source in the statistics that the manifest asks for."""
        image = DecodedImage(source.pixels, inside=source.inside)
        return cls(prepare_source(image, manifest.measure.model_dump()), power_of(image))


def power_of(image: DecodedImage) -> tuple[float, ...]:
    """Return an image's power spectrum to six significant digits, as records have it; empty with a mask."""
    if image.inside is not None:
        return ()
    return tuple(float(f"{value:.{POWER_DIGITS}g}") for value in image.spectrum.radial)


def shown_inside(source: Source, control: ControlSpec | ControlRecord | None) -> Inside | None:
    """Return the mask inside of which an image of a source is; None for textures and whole images."""
    known = CONTROLS[control.name] if control and control.name in CONTROLS else None
    return source.inside if known and known.of_mask == "inside" else None


@dataclass(frozen=True)
class Preparation:
    """A manifest with its sources by id, its networks on one device, and what "set" is in its matching."""

    manifest: Manifest
    sources: dict[str, Source]
    networks: Networks
    the_set: Reference
    _measures: dict[str, SourceMeasures] = field(default_factory=dict)
    _targets: dict[str, Targets] = field(default_factory=dict)
    _goals: dict[str, SourceImage] = field(default_factory=dict)
    _terms: dict[LayerSet, Mapping[Term, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measures(self, source_id: str) -> SourceMeasures:
        """Return what stimuli of a source are compared with, measured when first asked for."""
        with self._lock:
            if source_id not in self._measures:
                self._measures[source_id] = SourceMeasures.of(self.manifest, self.sources[source_id])
            return self._measures[source_id]

    def targets(self, source_id: str) -> Targets:
        """Return what stimuli of a source are matched to."""
        with self._lock:
            if source_id not in self._targets:
                spec = self.manifest.matching
                of_source = Reference((self.sources[source_id].counted,), spec.channels)
                references = {"source": of_source, "set": self.the_set}
                asked = {name: references[to] for name, to in spec.asked.items()}
                found = Targets(**asked, channels=spec.channels, iterations=spec.iterations)
                self._targets[source_id] = found
            return self._targets[source_id]

    def goals(self, source_ids: Collection[str]) -> dict[str, SourceImage]:
        """Return what textures of sources are to match; the last ones are kept, with their analysis."""
        kept = {name: self._goals[name] for name in source_ids if name in self._goals}
        for name in {*source_ids} - kept.keys():
            source = self.sources[name]
            kept[name] = SourceImage(plane_if_grey(source.pixels), source.inside)
        self._goals.clear()
        self._goals.update(kept)
        return kept

    def terms(self, layer_set: LayerSet) -> Mapping[Term, float]:
        """Return what textures of a layer set match, the same statistics each time."""
        if layer_set not in self._terms:
            self._terms[layer_set] = weighted_terms(layer_set.layer_weights, self.networks.bases(layer_set))
        return self._terms[layer_set]

    def recipe(self, stimulus: Stimulus) -> Recipe:
        """Return all that a stimulus depends on."""
        return self.recipes([stimulus])[stimulus.stimulus_id]

    def recipes(self, stimuli: Iterable[Stimulus] | None = None) -> dict[str, Recipe]:
        """Return recipes by stimulus id; of all stimuli, in the order of the plan."""
        stimuli = plan(self.manifest) if stimuli is None else stimuli
        return recipes(self.manifest, stimuli, self.sources, self.networks.weights)


def prepare(manifest: Manifest, device: str) -> Preparation:
    """Load the sources, and check that everything in the manifest can be made of them."""
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()  # every stimulus needs it, and would fail only when it is made
    sources = load_sources(manifest)
    check_controls(manifest, sources.values())
    the_set = Reference(tuple(source.counted for source in sources.values()), manifest.matching.channels)
    return Preparation(manifest, sources, Networks(manifest, device), the_set)


def load_sources(manifest: Manifest) -> dict[str, Source]:
    """Load all sources by id."""
    sources: dict[str, Source] = {}
    errors: list[str] = []
    for source in manifest.sources:
        try:
            sources[source.id] = load_source(source, manifest.image, name=manifest.name)
        except InputError as error:
            errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))
    return sources


def check_controls(manifest: Manifest, sources: Iterable[Source]) -> None:
    """Raise InputError with every source that does not suit a control."""
    errors: list[str] = []
    for control in {spec.name: CONTROLS[spec.name] for spec in manifest.controls}.values():
        if control.prepare:
            control.prepare()
        if control.check_source is None:
            continue
        for source in sources:
            try:
                control.check_source(source)
            except InputError as error:
                errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))
