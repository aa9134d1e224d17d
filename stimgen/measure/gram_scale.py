"""A scale for Gram distances: from that between parts of the source to that of its phase scramble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.measure.gram import gram_distances
from stimgen.measure.gram_distance import GramScale
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.statistics.gram import gram_matrices
from stimgen.texture.tensors import to_batch


def gram_scales(
    extractor: FeatureExtractor, source: Image, scrambled: Sequence[Image], targets: Mapping[str, Tensor]
) -> tuple[GramScale, ...]:
    """Return the scale of each layer for distances from one source.

    The floor is the mean, over left against right and upper against lower half, of ``||G_1 - G_2||_F /
    ||T||_F`` with G_1 and G_2 the Gram matrices of the halves and T that of the source. Halves are the
    largest disjoint parts that there are; being smaller than the source, they differ more than two images
    of its size would. With an odd side the middle row or column is left out.

    Parameters
    ----------
    extractor
        The network, in float32.
    source
        (H, W) or (H, W, 3), values 0..1.
    scrambled
        Phase-scrambled versions of it, one or more.
    targets
        Layer name to the Gram matrix of `source`, shape (1, channel, channel).

    Returns
    -------
    tuple of GramScale
        In the order of `targets`.
    """
    ceilings = gram_distances(extractor, scrambled, targets)
    floors = [_between(extractor, *halves, targets) for halves in _halves(source)]
    return tuple(
        GramScale(
            layer,
            _mean([floor[layer] for floor in floors]) if all(layer in floor for floor in floors) else None,
            _mean([distances[place].gram_relative for distances in ceilings]),
        )
        for place, layer in enumerate(targets)
    )


def _halves(source: Image) -> tuple[tuple[Image, Image], tuple[Image, Image]]:
    height, width = source.shape[0] // 2, source.shape[1] // 2
    return (source[:, :width], source[:, -width:]), (source[:height], source[-height:])


@torch.no_grad()
def _between(
    extractor: FeatureExtractor, one: Image, other: Image, targets: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return ``||G_1 - G_2|| / ||T||`` on the layers for which the images are large enough."""
    layers = [layer for layer in targets if extractor.architecture.smallest_px(layer) <= min(one.shape[:2])]
    if not layers:
        return {}
    # The halves have one shape, and half the size each: together they take no more than the source.
    grams = gram_matrices(extractor, to_batch([one, other], extractor.device), layers)
    return {
        layer: float(
            torch.linalg.matrix_norm(grams[layer][0] - grams[layer][1])
            / torch.linalg.matrix_norm(targets[layer][0])
        )
        for layer in layers
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
