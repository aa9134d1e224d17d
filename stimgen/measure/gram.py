"""Distances between the Gram matrices of an image and of its source, and the scale to read them on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stimgen.column import Column
from stimgen.images.pixels import Image
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

if TYPE_CHECKING:
    from torch import Tensor

    from stimgen.networks.extractor import FeatureExtractor

LEAST_RATIO = 2.0
"""Of ceiling to floor, below which distances are not normalised."""
GATYS = "Gatys, Ecker & Bethge (2015), NeurIPS 28"


@dataclass(frozen=True)
class GramScale:
    """What relative Gram distances of one layer from one source can be compared with.

    `floor` is the mean, over left against right and upper against lower half of the source, of
    ``||G_1 - G_2||_F / ||T||_F`` with G_1 and G_2 the Gram matrices of the halves and T that of the source;
    None where half the source is too small for the layer. `ceiling` is the mean relative distance of
    phase-scrambled versions of the source.
    """

    floor: float | None
    ceiling: float

    def normalised(self, gram_relative: float) -> float | None:
        """Return ``(d - floor) / (ceiling - floor)``; None unless the ceiling is at least twice the floor.

        Examples
        --------
        >>> GramScale(0.25, 0.75).normalised(0.5)
        0.5
        """
        if self.floor is None or self.ceiling < LEAST_RATIO * self.floor or self.ceiling == 0:
            return None
        return (gram_relative - self.floor) / (self.ceiling - self.floor)


@dataclass(frozen=True, eq=False)
class SourceGrams:
    """What images are compared with in one network in float32, the same for all stimuli of a source."""

    extractor: FeatureExtractor
    targets: Mapping[str, Tensor]  # by layer, Gram matrices of shape (1, channel, channel)
    scales: Mapping[str, GramScale]
    last: dict[bytes, dict[str, tuple[float, float]]] = field(default_factory=dict)

    def distances(self, image: Image) -> dict[str, tuple[float, float]]:
        """Return `gram_distances`, of an image equal to the last one without computing them again.

        An image that nothing matches or clips is the same at several stages.
        """
        pixels = np.ascontiguousarray(image, dtype=np.float32)
        key = hashlib.sha256(pixels.data).digest() + repr(pixels.shape).encode()
        if key not in self.last:
            self.last.clear()
            self.last[key] = gram_distances(self.extractor, image, self.targets)
        return self.last[key]


def source_grams(
    extractor: FeatureExtractor, source: Image, layers: Sequence[str], scrambled: Sequence[Image]
) -> SourceGrams:
    """Measure a source, and phase-scrambled versions of it, one or more: (H, W) or (H, W, 3), 0..1."""
    import torch

    targets = _gram_matrices(extractor, [source], layers)
    ceilings = [gram_distances(extractor, image, targets) for image in scrambled]
    # With an odd side the middle row or column is left out.
    height, width = source.shape[0] // 2, source.shape[1] // 2
    halves = ((source[:, :width], source[:, -width:]), (source[:height], source[-height:]))
    norm, floors = torch.linalg.matrix_norm, defaultdict[str, list[float]](list)
    for pair in halves:
        shortest = min(pair[0].shape[:2])
        fitting = [layer for layer in targets if extractor.architecture.smallest_px(layer) <= shortest]
        # Together the halves take no more memory than the source.
        for layer, gram in (_gram_matrices(extractor, pair, fitting) if fitting else {}).items():
            floors[layer].append(float(norm(gram[0] - gram[1]) / norm(targets[layer][0])))
    scales = {}
    for layer in targets:
        floor = sum(floors[layer]) / 2 if len(floors[layer]) == 2 else None
        ceiling = sum(distances[layer][1] for distances in ceilings) / len(ceilings)
        scales[layer] = GramScale(floor, ceiling)
    return SourceGrams(extractor, targets, scales)


def gram_distances(
    extractor: FeatureExtractor, image: Image, targets: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Return ``1 / (4 N^2) * sum (G - T)^2`` and ``||G - T||_F / ||T||_F`` of an image, by layer."""
    from stimgen.texture.statistics.gram import gram_loss, relative_gram_distance

    grams = _gram_matrices(extractor, [image], list(targets))
    return {
        layer: (gram_loss(grams[layer], target).item(), relative_gram_distance(grams[layer], target).item())
        for layer, target in targets.items()
    }


def stage_distances(image: Image, source: SourceGrams) -> Values:
    """Return the columns of `gram_columns` that are the image's own: without floor and ceiling."""
    values: Values = {}
    for layer, (loss, relative) in source.distances(image).items():
        values |= {
            f"gram_loss_{layer}": loss,
            f"gram_relative_{layer}": relative,
            f"gram_normalised_{layer}": source.scales[layer].normalised(relative),
        }
    return values


@register_statistic(
    "gram",
    order=70,
    needs_network=True,
    columns=(
        Column(
            "gram_loss_{layer}",
            "Gram loss, {layer}",
            "1/(4 N^2) * sum of squared differences between the Gram matrices of the file and of the source.",
            "",
            GATYS,
        ),
        Column(
            "gram_relative_{layer}",
            "Relative Gram distance, {layer}",
            "Norm of the difference between the Gram matrices of the file and of the source, divided by the "
            "norm of the source's; 0 for equal statistics. In the network of `measured_in`.",
        ),
        Column(
            "gram_normalised_{layer}",
            "Normalised Gram distance, {layer}",
            "(d - floor) / (ceiling - floor) with d = gram_relative_{layer}: 0 is as far from the source as "
            "its halves are from each other, 1 as its phase scramble; below 0 for a closer match. Empty "
            "where there is no floor, or the ceiling is less than twice the floor.",
        ),
        Column(
            "gram_floor_{layer}",
            "Floor of the Gram distance, {layer}",
            "Norm of the difference between the Gram matrices of two halves of the source, divided by the "
            "norm of the source's: mean of left against right and upper against lower half. Empty where a "
            "half is too small for the layer.",
        ),
        Column(
            "gram_ceiling_{layer}",
            "Ceiling of the Gram distance, {layer}",
            "Mean relative Gram distance of three phase-scrambled versions of the source.",
        ),
    ),
)
def gram_columns(image: DecodedImage, source: SourceGrams | None) -> Values:
    """Return the distances on each layer, with the floor and the ceiling of the source."""
    if source is None:
        return {}
    values = stage_distances(image.pixels, source)
    for layer, scale in source.scales.items():
        values |= {f"gram_floor_{layer}": scale.floor, f"gram_ceiling_{layer}": scale.ceiling}
    return values


def _gram_matrices(
    extractor: FeatureExtractor, images: Sequence[Image], layers: Sequence[str]
) -> dict[str, Tensor]:
    from stimgen.texture.objective import to_batch
    from stimgen.texture.statistics.gram import gram_matrices

    return gram_matrices(extractor, to_batch(images, extractor.device), layers)
