"""The networks of a run: found, normalised and put on the device once each."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.images.sources import Source
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.matching.range import clip_to_display
from stimgen.measure.gram_scale import GramScale, gram_scales
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import Weights, find_weights
from stimgen.runs.batches import measured_layers
from stimgen.runs.recipe import generator
from stimgen.runs.record import NetworkRecord
from stimgen.texture.objective import analyse
from stimgen.texture.tensors import to_batch

CEILING_SCRAMBLES = 3
"""Phase-scrambled versions of a source whose mean distance is the ceiling."""


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
        self._targets: dict[tuple[NetworkSpec, str], dict[str, Tensor]] = {}
        self._scales: dict[tuple[NetworkSpec, str], dict[str, GramScale]] = {}

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

    def targets(self, network: NetworkSpec, source: Source) -> dict[str, Tensor]:
        """Return the Gram matrices of a source on all measured layers."""
        key = (network, source.id)
        if key not in self._targets:
            batch = to_batch([source.pixels], self._device)
            layers = measured_layers(self._manifest, network)
            self._targets[key] = analyse(self.extractor(network), batch, layers)
        return self._targets[key]

    def scales(self, network: NetworkSpec, source: Source) -> dict[str, GramScale]:
        """Return floor and ceiling of the Gram distances from a source on all measured layers."""
        key = (network, source.id)
        if key not in self._scales:
            scrambled = [
                clip_to_display(phase_scrambled(source.pixels, generator("ceiling", source.id, str(number))))[
                    0
                ]
                for number in range(CEILING_SCRAMBLES)
            ]
            targets = self.targets(network, source)
            scales = gram_scales(self.extractor(network), source.pixels, scrambled, targets)
            self._scales[key] = {scale.layer: scale for scale in scales}
        return self._scales[key]

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
        )
