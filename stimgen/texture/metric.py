"""The metric in which a descent measures differences of Gram matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def flat_metric(target: Tensor, exponent: float, floor: float) -> Tensor:
    """Return M, with which ``||M (G - T) M||`` has a flatter Hessian in the features than ``||G - T||``.

    Take the features apart along the eigenvectors of T, with eigenvalues l_1 >= l_2 >= ... The curvature of
    ``||G - T||^2`` that belongs to the pair (i, j) is proportional to l_i + l_j: in natural textures the
    largest is thousands of times the smallest, and gradient methods are as slow as that. With
    ``M = (T + e I)^(-a/2)`` it is ``(l_i + l_j) ((l_i + e) (l_j + e))^(-a)``. For a = 1/2, among eigenvalues
    well above e, all curvatures with i = j are equal, and the ratio of the largest to the smallest is less
    than the square root of what it was. The minimum, G = T, stays where it is.

    Wide layers have more directions, each of which is a smaller part of ``1 / (4 N^2) sum_ij``; M holds a
    factor ``N^(1/4)`` that makes it ``1 / (4 N) sum_ij``.

    Parameters
    ----------
    target
        Gram matrices T of the source, shape (batch, N, N).
    exponent
        a, from 0 (the plain differences but for the factor) to 1/2 (flattest).
    floor
        e relative to the largest eigenvalue.

    Returns
    -------
    Tensor
        M, symmetric, shape and dtype of `target`.
    """
    # On the host in float64: it is small, and eigenvectors of small eigenvalues need it.
    values, vectors = torch.linalg.eigh(target.double().cpu())
    largest = values[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
    powers = torch.where(values[:, -1:] > 0, (values.clamp_min(0) + floor * largest) ** (-exponent / 2), 1.0)
    metric: Tensor = vectors @ torch.diag_embed(powers) @ vectors.transpose(1, 2)
    metric = metric * target.shape[-1] ** 0.25
    return metric.to(target)


def on_components(metric: Tensor, basis: Tensor) -> Tensor:
    """Return the metric with which only the Gram matrix of projected features counts.

    With V the components and M a metric among them, ``||M (V^T (G - T) V) M^T||``. A factor turns the
    ``1 / (4 N^2)`` of all channels into the ``1 / (4 k^2)`` of the k components, so that the loss is that of
    the projected features.

    Parameters
    ----------
    metric
        M, shape (batch, k, k).
    basis
        V, shape (N, k).

    Returns
    -------
    Tensor
        Shape (batch, k, N).
    """
    channels, components = basis.shape
    projected: Tensor = metric @ basis.T * (channels / components) ** 0.5
    return projected
