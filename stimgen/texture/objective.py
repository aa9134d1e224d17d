"""The function that synthesis minimises: for each image of a batch its own weighted sum of losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.errors import StimgenError
from stimgen.images.masks import Inside
from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.statistic import Statistic, Target, Term


def to_batch(
    images: Sequence[Image], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Stack images (H, W) or (H, W, 3) of one shape to a batch (batch, 1 or 3, H, W)."""
    stack = np.stack(images).astype(np.float32)
    stack = stack[:, np.newaxis] if stack.ndim == 3 else np.moveaxis(stack, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(stack)).to(device, dtype)


def to_image(batch: Tensor) -> Image:
    """Return a batch of one image (1, 1 or 3, H, W) as a float32 image (H, W) or (H, W, 3)."""
    array = batch[0].detach().to("cpu", torch.float32).numpy()
    return np.ascontiguousarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2))


def layers_of(terms: Iterable[Term]) -> tuple[str, ...]:
    """Return the layers of terms, each once."""
    return tuple(dict.fromkeys(term.layer for term in terms if term.layer is not None))


def features_of(
    extractor: FeatureExtractor, images: Tensor, terms: Iterable[Term], inside: Inside | None = None
) -> dict[Term, Tensor]:
    """Return what `terms` need of images (batch, 1 or 3, height, width), each as soon as its maps exist.

    With a mask, `inside`, a position of a map counts by the share of its pixels that are inside.
    """
    statistics = dict.fromkeys(term.statistic for term in terms if term.layer is not None)
    mask = None if inside is None else torch.from_numpy(inside)[None, None].to(images)

    def of_maps(statistic: Statistic, maps: Tensor) -> Tensor:
        if mask is None:
            return statistic.features(maps)
        return statistic.weighted_features(maps, F.interpolate(mask, size=maps.shape[2:], mode="area"))

    def of_layer(maps: Tensor) -> Any:
        return {statistic: of_maps(statistic, maps) for statistic in statistics}

    # A luminance plane is seen in all three channels.
    rgb = images.expand(-1, 3, -1, -1)
    found: Mapping[str, Any] = extractor.features(rgb, layers_of(terms), of_layer) if statistics else {}
    return {
        term: of_maps(term.statistic, images) if term.layer is None else found[term.layer][term.statistic]
        for term in terms
    }


@torch.no_grad()
def analyse(
    extractor: FeatureExtractor, images: Tensor, terms: Iterable[Term], inside: Inside | None = None
) -> dict[Term, Tensor]:
    """Return the features of images for each of `terms`, and refuse those that are not finite."""
    found = features_of(extractor, images, terms, inside)
    for term, features in found.items():
        if not features.isfinite().all():
            raise StimgenError(
                f"The {term.statistic.label} of {term.layer or 'the pixels'} is not finite: the weights of "
                f"{extractor.architecture.name} have numbers that are too large.",
                "The weights may be damaged, or their input convention another one: stimgen weights --help.",
            )
    return found


class Part(NamedTuple):
    """What a term is compared with, and its weight in each problem, shape (batch,); 0 leaves it out."""

    target: Target
    weights: Tensor


@dataclass(frozen=True)
class Objective:
    """``L_b(x) = sum_t w_bt E_t(x_b)`` for every problem b of a batch (Gatys et al. 2015, eq. 4).

    The convolutions of the network may be bfloat16; losses are float32.
    """

    extractor: FeatureExtractor
    parts: Mapping[Term, Part]

    @classmethod
    def plain(
        cls, extractor: FeatureExtractor, terms: Mapping[Term, float], features: Mapping[Term, Tensor]
    ) -> Objective:
        """Return the objective of one problem: the weights of its terms, and the features of its source."""
        return cls(
            extractor,
            {
                term: Part(term.statistic.target(features[term]), features[term].new_tensor([weight]))
                for term, weight in terms.items()
            },
        )

    def loss(self, images: Tensor) -> Tensor:
        """Return the weighted sum over terms, shape (batch,)."""
        found = features_of(self.extractor, images, self.parts)
        return self._sum(term.statistic.loss(found[term], part.target) for term, part in self.parts.items())

    def loss_of_zero(self) -> Tensor:
        """Return the loss of features that are zero, shape (batch,): the scale of `loss`."""
        return self._sum(term.statistic.zero_loss(part.target) for term, part in self.parts.items())

    def _sum(self, losses: Iterable[Tensor]) -> Tensor:
        weighted = [part.weights * loss for part, loss in zip(self.parts.values(), losses, strict=True)]
        return torch.stack(weighted).sum(dim=0)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses, shape (batch,), and their gradients, shape of `images`."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            losses = self.loss(images)
            # Problems share no pixels, so the gradient of the sum holds each problem's own.
            (gradient,) = torch.autograd.grad(losses.sum(), images)
        return losses.detach(), gradient


def together(objectives: Sequence[Objective]) -> Objective:
    """Return one objective for several problems with one network, which share its passes.

    A term that a problem does not have gets the target of another problem, and the weight 0.
    """
    extractor = objectives[0].extractor
    order = (None, *extractor.architecture.layers)
    terms = dict.fromkeys(term for objective in objectives for term in objective.parts)
    parts = {}
    for term in sorted(terms, key=lambda term: order.index(term.layer)):
        target, weights = next(own.parts[term] for own in objectives if term in own.parts)
        absent = Part(target, torch.zeros_like(weights))
        found = [objective.parts.get(term, absent) for objective in objectives]
        joined = term.statistic.join([part.target for part in found])
        parts[term] = Part(joined, torch.cat([part.weights for part in found]))
    return Objective(extractor, parts)
