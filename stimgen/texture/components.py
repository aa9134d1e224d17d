"""Principal components of feature maps, with which a texture model has fewer parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.networks.photographs import photographs
from stimgen.texture.objective import analyse


def principal_components(extractor: FeatureExtractor, layers: Sequence[str], count: int) -> dict[str, Tensor]:
    """Return the directions in which the features of natural photographs vary most about zero.

    They are the eigenvectors with the largest eigenvalues of the mean Gram matrix over the photographs of
    `stimgen.networks.photographs`: among all projections on `count` directions the one that keeps most of the
    features' mean square. Gram matrices are products of features about zero, and so are the components: the
    mean of the features is not taken away. They belong to the network and not to a texture, so a texture is
    described by the Gram matrices of the projected features alone, ``V^T G V``
    (Gatys, Ecker & Bethge 2015, section 4 and Fig. 3A).

    Parameters
    ----------
    extractor
        The network. It is run on the CPU in float32, so that all devices work with the same components.
    layers
        Layer names.
    count
        Components of each layer; a layer with fewer channels keeps as many as it has.

    Returns
    -------
    dict
        Layer name to V, shape (channel, components) with orthonormal columns, on the extractor's device,
        float32 or better.
    """
    here = extractor.to("cpu", torch.float32)
    totals: dict[str, Tensor] = {}
    for pixels in photographs():
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        for layer, gram in analyse(here, image, layers).items():
            totals[layer] = totals.get(layer, 0) + gram[0].double()
    return {layer: leading_eigenvectors(total, count).to(extractor.gain) for layer, total in totals.items()}


def leading_eigenvectors(symmetric: Tensor, count: int) -> Tensor:
    """Return the eigenvectors of the `count` largest eigenvalues as columns, largest first."""
    vectors: Tensor = torch.linalg.eigh(symmetric).eigenvectors
    return vectors.flip(1)[:, :count]


def project(gram: Tensor, basis: Tensor) -> Tensor:
    """Return the Gram matrices of features projected on components, ``V^T G V``.

    Parameters
    ----------
    gram
        Gram matrices, shape (batch, channel, channel).
    basis
        V, shape (channel, components).
    """
    return basis.T @ gram @ basis


def embed(gram: Tensor, basis: Tensor) -> Tensor:
    """Return Gram matrices of all channels whose projection is `gram`, ``V P V^T``.

    Parameters
    ----------
    gram
        P, shape (batch, components, components).
    basis
        V, shape (channel, components).
    """
    return basis @ gram @ basis.T
