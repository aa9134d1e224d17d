"""The function that synthesis minimises: for each problem of a batch its own sum of Gram losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.errors import StimgenError
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.gram import gram_loss, gram_matrix, weighted_gram_loss
from stimgen.texture.tensors import to_rgb


class Objective(Protocol):
    """Losses and gradients of a batch of independent problems."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses, shape (batch,), and their gradients, shape of `images`."""
        ...


@torch.no_grad()
def analyse(extractor: FeatureExtractor, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the Gram matrices of `images` on each of `layers`.

    Parameters
    ----------
    extractor
        The network.
    images
        Shape (batch, 1 or 3, height, width), values 0..1.
    layers
        Layer names.

    Returns
    -------
    dict
        Layer name to Gram matrices, shape (batch, channel, channel).

    Raises
    ------
    StimgenError
        If one is not finite, because the network's numbers are too large.
    """
    grams = extractor.features(to_rgb(images), layers, gram_matrix)
    overflown = [layer for layer in layers if not grams[layer].isfinite().all()]
    if overflown:
        raise StimgenError(
            f"The Gram matrix of {overflown[0]} is not finite: the weights of {extractor.architecture.name} "
            "have numbers that are too large.",
            "The weights may be damaged, or their input convention another one: stimgen weights --help.",
        )
    return {layer: grams[layer] for layer in layers}


@dataclass(frozen=True)
class GramObjective:
    """``L_b(x) = sum_l w_bl E_l(x_b)`` for every problem b of a batch (Gatys et al. 2015, eq. 4).

    Attributes
    ----------
    extractor
        The network; its convolutions may be bfloat16, the Grams and losses are float32.
    targets
        Layer name to the Gram matrices to be reached, shape (batch, channel, channel).
    weights
        Layer name to the weights of the layer in each problem, shape (batch,); 0 leaves it out.
    metrics
        Layer name to M, shape (batch, rows, channel): the difference D of the Gram matrices counts as
        M D M^T (`stimgen.texture.metric`). Without an entry it counts as it is.
    """

    extractor: FeatureExtractor
    targets: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def layer_losses(self, images: Tensor) -> dict[str, Tensor]:
        """Return each layer's unweighted Gram loss, shape (batch,)."""
        return self._losses(self.extractor.features(to_rgb(images), list(self.targets), gram_matrix))

    def loss(self, images: Tensor) -> Tensor:
        """Return the weighted sum over layers, shape (batch,)."""
        return self._weighted_sum(self.layer_losses(images))

    def loss_of_zero(self) -> Tensor:
        """Return the loss of Gram matrices that are zero, shape (batch,): the scale of `loss`."""
        zeros = {layer: torch.zeros_like(target) for layer, target in self.targets.items()}
        return self._weighted_sum(self._losses(zeros))

    def _losses(self, grams: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses = {}
        for layer, target in self.targets.items():
            gram = grams[layer]
            if layer in self.metrics:
                losses[layer] = weighted_gram_loss(gram, target, self.metrics[layer])
            else:
                losses[layer] = gram_loss(gram, target)
        return losses

    def _weighted_sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[layer] * loss for layer, loss in losses.items()]).sum(dim=0)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses, shape (batch,), and their gradients, shape of `images`."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            losses = self.loss(images)
            # Problems share no pixels, so the gradient of the sum holds each problem's own.
            (gradient,) = torch.autograd.grad(losses.sum(), images)
        return losses.detach(), gradient


def together(objectives: Sequence[GramObjective]) -> GramObjective:
    """Return one objective for several problems with one network, which shares its passes among them.

    A layer that a problem does not have gets the weight 0 there.
    """
    targets, weights, metrics = {}, {}, {}
    for layer in objectives[0].extractor.architecture.layers:
        having = [objective for objective in objectives if layer in objective.targets]
        if not having:
            continue
        absent = torch.zeros_like(having[0].targets[layer])
        targets[layer] = torch.cat([objective.targets.get(layer, absent) for objective in objectives])
        zero = torch.zeros_like(having[0].weights[layer])
        weights[layer] = torch.cat([objective.weights.get(layer, zero) for objective in objectives])
        if any(layer in objective.metrics for objective in having):
            metrics[layer] = torch.cat([_square_metric(objective, layer, absent) for objective in objectives])
    return GramObjective(objectives[0].extractor, targets, weights, metrics)


def _square_metric(objective: GramObjective, layer: str, like: Tensor) -> Tensor:
    """Return M with rows of zeros to the shape of `like`; the identity if there is none."""
    metric = objective.metrics.get(layer)
    if metric is None:
        return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)[None]
    return F.pad(metric, (0, 0, 0, like.shape[-1] - metric.shape[-2]))
