"""Gram matrices of feature maps: their loss (Gatys, Ecker & Bethge 2015), distance and projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.images.masks import Inside
from stimgen.networks.extractor import FeatureExtractor
from stimgen.networks.photographs import photographs
from stimgen.texture.objective import analyse
from stimgen.texture.statistic import Statistic, Target, Term, register_statistic


@register_statistic("gram")
@dataclass(frozen=True)
class Gram(Statistic):
    """The Gram matrix G of a layer's feature maps.

    With a `basis` V of principal components, shape (channel, components), only ``V^T G V`` is matched.
    """

    label = "Gram matrix"

    basis: Tensor | None = field(default=None, compare=False)

    def features(self, maps: Tensor) -> Tensor:
        """Return the Gram matrices, (batch, channel, channel)."""
        return gram_matrix(maps)

    def weighted_features(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted means over positions, ``sum_p w_p f_p f_p^T / sum_p w_p``."""
        # A root before the product, in which it is squared.
        return gram_matrix(maps.to(weights.dtype) * (weights / weights.mean()).sqrt())

    def target(self, features: Tensor) -> Target:
        """Return T, and with components the matrix M of `loss`."""
        if self.basis is None:
            return (features,)
        return self._weighted(features, _identity(features, self.basis.shape[1]))

    def flat_target(self, features: Tensor, exponent: float, floor: float) -> Target:
        """Return T and the matrix M of `loss` that makes it flat."""
        return self._weighted(features, flat_metric(self.reduced(features), exponent, floor))

    def _weighted(self, features: Tensor, metric: Tensor) -> Target:
        """Return T and M, shape (batch, rows, N), of a metric among what is matched.

        A factor turns the ``1 / (4 N^2)`` of all channels into ``1 / (4 k^2)`` of k components.
        """
        if self.basis is None:
            return features, metric
        channels, components = self.basis.shape
        return features, metric @ self.basis.T * (channels / components) ** 0.5

    def join(self, targets: Sequence[Target]) -> Target:
        """Return all T, and if one target has a metric, all M as square matrices with rows of zeros."""
        grams = torch.cat([target[0] for target in targets])
        if all(len(target) == 1 for target in targets):
            return (grams,)
        channels = grams.shape[-1]
        metrics = [
            F.pad(target[1], (0, 0, 0, channels - target[1].shape[-2]))
            if len(target) == 2
            else _identity(target[0], channels)
            for target in targets
        ]
        return grams, torch.cat(metrics)

    def loss(self, features: Tensor, target: Target) -> Tensor:
        """Return `gram_loss`, or with a matrix M ``1 / (4 N^2) * ||M (G - T) M^T||_F^2`` of N channels."""
        if len(target) == 1:
            return gram_loss(features, target[0])
        goal, metric = target
        difference = metric @ (features - goal) @ metric.transpose(1, 2)
        return difference.square().sum(dim=(1, 2)) / (4 * features.shape[-1] ** 2)

    def distance(self, features: Tensor, goal: Tensor) -> Tensor:
        """Return the relative distance of the Gram matrices that are matched."""
        return relative_gram_distance(self.reduced(features), self.reduced(goal))

    def on_components(self, basis: Tensor) -> Gram:
        """Return the Gram matrix of features projected on components."""
        return Gram(basis)

    def reduced(self, features: Tensor) -> Tensor:
        """Return ``V^T G V``."""
        return features if self.basis is None else self.basis.T @ features @ self.basis

    def restored(self, reduced: Tensor) -> Tensor:
        """Return ``V P V^T``, the Gram matrix of all channels whose projection is P."""
        return reduced if self.basis is None else self.basis @ reduced @ self.basis.T


def gram_matrices(
    extractor: FeatureExtractor, images: Tensor, layers: Sequence[str], inside: Inside | None = None
) -> dict[str, Tensor]:
    """Return the Gram matrices, shape (batch, channel, channel), of images (batch, 1 or 3, height, width).

    With a mask, `inside` (height, width), they are the weighted means of `Gram.weighted_features`.
    """
    found = analyse(extractor, images, [Term(layer, Gram()) for layer in layers], inside)
    return dict(zip(layers, found.values(), strict=True))


def principal_components(
    extractor: FeatureExtractor, layers: Sequence[str], count: int | None
) -> dict[str, Tensor]:
    """Return the directions in which the features of natural photographs vary most about zero; {} for None.

    They are the eigenvectors with the largest eigenvalues of the mean Gram matrix over the photographs of
    `stimgen.networks.photographs`: among all projections on `count` directions the one that keeps most of the
    features' mean square. Like Gram matrices they are about zero: the mean of the features is not subtracted.
    They belong to the network and not to a texture (Gatys, Ecker & Bethge 2015, section 4 and Fig. 3A).
    """
    if count is None:
        return {}
    on_cpu = extractor.to("cpu", torch.float32)
    totals: dict[str, Tensor] = {}
    for pixels in photographs():
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        for layer, gram in gram_matrices(on_cpu, image, layers).items():
            totals[layer] = totals.get(layer, 0) + gram[0].double()
    return {
        layer: torch.linalg.eigh(total).eigenvectors.flip(1)[:, :count].to(extractor.gain)
        for layer, total in totals.items()
    }


def gram_matrix(features: Tensor) -> Tensor:
    """Return the mean products of all pairs of channels, ``G = F F^T / M``.

    Gatys, Ecker & Bethge (2015), eq. 1, divided by the number of positions M so that images of different
    sizes can be compared. Feature maps (batch, channel, height, width) of any floating dtype give (batch,
    channel, channel), float32, or float64 for float64 features: sums over positions are never accumulated in
    a lower precision.

    Examples
    --------
    >>> import torch
    >>> gram_matrix(torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]]))
    tensor([[[5., 1.],
             [1., 2.]]])
    """
    batch, channels, height, width = features.shape
    # Positions before channels is how channels_last maps lie in memory: this reshape then copies nothing.
    flat = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
    return _products(flat) / (height * width)


class _Products(torch.autograd.Function):
    """A^T A in float32 or better, with its gradient A (D + D^T) in one product, in the precision of A."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(matrices)
        matrices = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
        return matrices.transpose(1, 2) @ matrices

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (matrices,) = ctx.saved_tensors
        product: Tensor = matrices @ (gradient + gradient.transpose(1, 2)).to(matrices.dtype)
        return product


_products = cast("Callable[[Tensor], Tensor]", _Products.apply)


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Return ``E = 1 / (4 N^2) * sum_ij (G_ij - T_ij)^2`` for each image of the batch, shape (batch,).

    Gatys, Ecker & Bethge (2015), eq. 3, for Gram matrices of shape (batch, channel, channel). Their
    ``1 / (4 N^2 M^2)`` belongs to Gram matrices that are not divided by M.
    """
    channels = gram.shape[-1]
    return (gram - target).square().sum(dim=(1, 2)) / (4 * channels**2)


def relative_gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Return ``||G - T||_F / ||T||_F`` for each image of the batch, shape (batch,).

    It is 0 for equal statistics, about 1 for unrelated ones, and has no upper bound.
    """
    distance: Tensor = torch.linalg.matrix_norm(gram - target) / torch.linalg.matrix_norm(target)
    return distance


def flat_metric(target: Tensor, exponent: float, floor: float) -> Tensor:
    """Return M, with which ``||M (G - T) M||`` has a flatter Hessian in the features than ``||G - T||``.

    ``M = N^(1/4) (T + e I)^(-a/2)``, of the shape of `target` T, (batch, N, N); `exponent` is a, and `floor`
    is e relative to the largest eigenvalue. Why is in ``docs/method.md``.
    """
    # On the host in float64: it is small, and eigenvectors of small eigenvalues need it.
    values, vectors = torch.linalg.eigh(target.double().cpu())
    largest = values[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
    powers = torch.where(values[:, -1:] > 0, (values.clamp_min(0) + floor * largest) ** (-exponent / 2), 1.0)
    metric: Tensor = vectors @ torch.diag_embed(powers) @ vectors.transpose(1, 2)
    metric = metric * target.shape[-1] ** 0.25
    return metric.to(target)


def _identity(like: Tensor, rows: int) -> Tensor:
    return torch.eye(rows, dtype=like.dtype, device=like.device)[None]
