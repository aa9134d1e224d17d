"""Principal components of feature maps, with which a texture model has fewer parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.networks.photographs import photographs
from stimgen.texture.statistics.gram import gram_matrices


def principal_components(extractor: FeatureExtractor, layers: Sequence[str], count: int) -> dict[str, Tensor]:
    """Return the directions in which the features of natural photographs vary most about zero.

    They are the eigenvectors with the largest eigenvalues of the mean Gram matrix over the photographs of
    `stimgen.networks.photographs`: among all projections on `count` directions the one that keeps most of the
    features' mean square. Like Gram matrices they are about zero: the mean of the features is not subtracted.
    They belong to the network and not to a texture (Gatys, Ecker & Bethge 2015, section 4 and Fig. 3A).
    """
    on_cpu = extractor.to("cpu", torch.float32)
    totals: dict[str, Tensor] = {}
    for pixels in photographs():
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        for layer, gram in gram_matrices(on_cpu, image, layers).items():
            totals[layer] = totals.get(layer, 0) + gram[0].double()
    return {layer: leading_eigenvectors(total, count).to(extractor.gain) for layer, total in totals.items()}


def leading_eigenvectors(symmetric: Tensor, count: int) -> Tensor:
    """Return the eigenvectors of the `count` largest eigenvalues as columns, largest first."""
    vectors: Tensor = torch.linalg.eigh(symmetric).eigenvectors
    return vectors.flip(1)[:, :count]
