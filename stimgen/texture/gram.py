"""Gram statistics of feature maps and the two distances between them.

The two definitions used everywhere in stimgen:

* Gram loss, ``E = 1 / (4 N^2) * sum_ij (G_ij - T_ij)^2``, the summand of the objective
  (Gatys, Ecker & Bethge 2015, eq. 3; their ``1 / (4 N^2 M^2)`` with Grams not divided by M).
* Relative Gram distance, ``||G - T||_F / ||T||_F``, which can be compared over layers and sources.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def gram_matrix(features: Tensor) -> Tensor:
    """Return the mean products of all pairs of channels, ``G = F F^T / M``.

    Gatys, Ecker & Bethge (2015), eq. 1, divided by the number of positions M so that images of
    different sizes can be compared.

    Parameters
    ----------
    features
        Feature maps, shape (batch, channel, height, width), any floating dtype.

    Returns
    -------
    Tensor
        Shape (batch, channel, channel), symmetric. Float32, or float64 for float64 features:
        sums over positions are never accumulated in a lower precision.

    Examples
    --------
    >>> gram_matrix(torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]]))
    tensor([[[5., 1.],
             [1., 2.]]])
    """
    batch, channels, height, width = features.shape
    precision = torch.promote_types(features.dtype, torch.float32)
    # Positions before channels is how channels_last maps lie in memory: this reshape then copies nothing.
    flat = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels).to(precision)
    products: Tensor = _Products.apply(flat)
    return products / (height * width)


class _Products(torch.autograd.Function):
    """A^T A with its gradient A (D + D^T) in one matrix product, where the product rule takes two."""

    @staticmethod
    def forward(ctx: FunctionCtx, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(matrices)
        return matrices.transpose(1, 2) @ matrices

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (matrices,) = ctx.saved_tensors
        product: Tensor = matrices @ (gradient + gradient.transpose(1, 2))
        return product


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Return ``E = 1 / (4 N^2) * sum_ij (G_ij - T_ij)^2`` for each item of the batch.

    Gatys, Ecker & Bethge (2015), eq. 3.

    Parameters
    ----------
    gram, target
        Gram matrices, shape (batch, channel, channel).

    Returns
    -------
    Tensor
        Shape (batch,).
    """
    channels = gram.shape[-1]
    return (gram - target).square().sum(dim=(1, 2)) / (4 * channels**2)


def weighted_gram_loss(gram: Tensor, target: Tensor, metric: Tensor) -> Tensor:
    """Return ``1 / (4 N^2) * ||M (G - T) M^T||_F^2`` for each item of the batch: `gram_loss` where M is 1.

    Parameters
    ----------
    gram, target
        Gram matrices, shape (batch, channel, channel).
    metric
        M, shape (batch, rows, channel); N is the number of channels, whatever the rows are.

    Returns
    -------
    Tensor
        Shape (batch,).
    """
    difference = metric @ (gram - target) @ metric.transpose(1, 2)
    return difference.square().sum(dim=(1, 2)) / (4 * gram.shape[-1] ** 2)


def relative_gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Return ``||G - T||_F / ||T||_F`` for each item of the batch.

    Parameters
    ----------
    gram, target
        Gram matrices, shape (batch, channel, channel).

    Returns
    -------
    Tensor
        Shape (batch,); 0 for equal statistics, about 1 for unrelated ones, without upper bound.
    """
    distance: Tensor = torch.linalg.matrix_norm(gram - target) / torch.linalg.matrix_norm(target)
    return distance
