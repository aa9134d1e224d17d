"""The Gram matrices of a source, and the scale for distances from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from stimgen.controls.phase_scrambled import phase_scrambled
from stimgen.images.pixels import Image
from stimgen.matching.range import clip_to_display
from stimgen.measure.gram_distance import GramScale
from stimgen.measure.gram_scale import gram_scales
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.recipe import generator
from stimgen.texture.statistics.gram import gram_matrices
from stimgen.texture.tensors import to_batch

CEILING_SCRAMBLES = 3
"""Phase-scrambled versions of a source whose mean distance is the ceiling."""


@dataclass(frozen=True, eq=False)
class SourceGrams:
    """What images are compared with in one network, the same for all stimuli of a source.

    Attributes
    ----------
    targets
        Layer name to Gram matrix, shape (1, channel, channel).
    scales
        Layer name to floor and ceiling of the distances.
    """

    targets: Mapping[str, Tensor]
    scales: Mapping[str, GramScale]


def source_grams(extractor: FeatureExtractor, source: Image, layers: Sequence[str]) -> SourceGrams:
    """Measure a source.

    Parameters
    ----------
    extractor
        The network, in float32.
    source
        (H, W) or (H, W, 3), values 0..1.
    layers
        Layers of the network.
    """
    targets = gram_matrices(extractor, to_batch([source], extractor.device), layers)
    generators = [generator("ceiling", str(number)) for number in range(CEILING_SCRAMBLES)]
    scrambled = [clip_to_display(phase_scrambled(source, rng))[0] for rng in generators]
    scales = gram_scales(extractor, source, scrambled, targets)
    return SourceGrams(targets, {scale.layer: scale for scale in scales})
