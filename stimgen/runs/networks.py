"""The networks of a run: found, normalised and put on the device once each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.images.pixels import Image
from stimgen.images.sources import Source
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.matching.range import clip_to_display
from stimgen.measure.gram import SourceGrams, source_grams
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import Weights, find_weights
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import generator
from stimgen.runs.record import NetworkRecord
from stimgen.texture.components import principal_components

CEILING_SCRAMBLES = 3
"""Phase-scrambled versions of a source whose mean distance is the ceiling of Gram distances."""


def scrambled_versions(source: Image) -> list[Image]:
    """Return the phase-scrambled versions of a source that the ceiling of Gram distances is measured on."""
    generators = [generator("ceiling", str(number)) for number in range(CEILING_SCRAMBLES)]
    return [clip_to_display(phase_scrambled(source, rng))[0] for rng in generators]


class Networks:
    """Weights, extractors and the sources' Gram matrices, each made when first asked for.

    Parameters
    ----------
    manifest
        Says which layers are measured.
    device
        Where extractors run, for example "cuda:0".
    """

    def __init__(self, manifest: Manifest, device: str) -> None:
        self._manifest = manifest
        self._device = device
        self._weights: dict[tuple[str, str], Weights] = {}
        self._extractors: dict[NetworkSpec, FeatureExtractor] = {}
        self._bases: dict[tuple[NetworkSpec, tuple[str, ...], int], dict[str, Tensor]] = {}
        self._grams: dict[tuple[NetworkSpec, str], SourceGrams] = {}

    def weights(self, network: NetworkSpec) -> Weights:
        """Return the weights of a network."""
        key = (network.name, network.weights)
        if key not in self._weights:
            self._weights[key] = find_weights(*key)
        return self._weights[key]

    def extractor(self, network: NetworkSpec) -> FeatureExtractor:
        """Return the float32 extractor, cut off below the deepest layer that is measured."""
        if network not in self._extractors:
            deepest = NETWORKS[network.name]().deepest(measured_layers(self._manifest, network))
            self._extractors[network] = build_extractor(
                self.weights(network),
                pooling=network.pooling,
                normalise=network.normalise,
                device=self._device,
                deepest=deepest,
            )
        return self._extractors[network]

    def bases(self, layer_set: LayerSet) -> Mapping[str, Tensor]:
        """Return the principal components on which a layer set projects its layers; none for all channels."""
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
        if key not in self._grams:
            layers = measured_layers(self._manifest, network)
            scrambled = scrambled_versions(source.pixels)
            self._grams[key] = source_grams(self.extractor(network), source.pixels, layers, scrambled)
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
            normalise=network.normalise,
            weights_normalised=weights.normalised,
        )
