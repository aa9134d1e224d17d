"""Gram distances of finished images from their source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.measure.gram_distance import GramDistance
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.statistics.gram import gram_loss, gram_matrices, relative_gram_distance
from stimgen.texture.tensors import to_batch


@torch.no_grad()
def gram_distances(
    extractor: FeatureExtractor, images: Sequence[Image], targets: Mapping[str, Tensor]
) -> list[list[GramDistance]]:
    """Measure images against the Gram matrices of one source, in float32.

    Parameters
    ----------
    extractor
        The network, in float32.
    images
        Images of one shape, (H, W) or (H, W, 3), values 0..1.
    targets
        Layer name to the source's Gram matrix, shape (1, channel, channel).

    Returns
    -------
    list of list of GramDistance
        For each image its distances, in the order of `targets`.
    """
    # One image at a time: their feature maps at full size would take gigabytes together.
    return [
        _distances(gram_matrices(extractor, to_batch([image], extractor.device), list(targets)), targets)
        for image in images
    ]


def _distances(grams: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> list[GramDistance]:
    return [
        GramDistance(
            layer,
            gram_loss(grams[layer], target).item(),
            relative_gram_distance(grams[layer], target).item(),
        )
        for layer, target in targets.items()
    ]
