"""A Gram matrix as a vector of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def upper_triangle(grams: Tensor) -> Tensor:
    """Return the upper triangles of Gram matrices with their diagonals, off-diagonals times sqrt 2.

    A Gram matrix is symmetric, so the triangle holds all of it (Gatys, Ecker & Bethge 2015, section 4). An
    off-diagonal stands for two entries of the matrix: with the factor sqrt 2 the Euclidean distance of two
    vectors is the Frobenius distance of their matrices, the distance that is used everywhere else in stimgen.

    Parameters
    ----------
    grams
        Gram matrices, shape (batch, channel, channel).

    Returns
    -------
    Tensor
        Shape (batch, channel · (channel + 1) / 2), row by row: (0, 0), (0, 1), …, (1, 1), (1, 2), ….

    Examples
    --------
    >>> upper_triangle(torch.tensor([[[4.0, 1.0], [1.0, 9.0]]]))
    tensor([[4.0000, 1.4142, 9.0000]])
    """
    rows, columns = torch.triu_indices(grams.shape[1], grams.shape[2], device=grams.device)
    factors = torch.full((len(rows),), math.sqrt(2), dtype=grams.dtype, device=grams.device)
    factors[rows == columns] = 1
    return grams[:, rows, columns] * factors
