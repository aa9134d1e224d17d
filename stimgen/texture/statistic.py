"""What a statistic to match must provide, and the registry of those that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from stimgen.errors import StimgenError
from stimgen.registry import Registry

Target: TypeAlias = tuple[Tensor, ...]
"""What a loss compares features with; the first dimension of each tensor is the batch."""


class Statistic:
    """A statistic that a texture is made to share with its source.

    To add one, write a module in `stimgen.texture.statistics` with a subclass decorated by
    `register_statistic`. Only `loss` must be defined; `features` says what it needs of the feature maps of a
    layer, or of the images if `of_pixels` is set.

    Statistics that compare equal are evaluated together for all images of a batch. Write settings as fields
    of a frozen dataclass. A setting in which the images of a batch may differ needs ``compare=False``, and
    `features` and `loss` must not read it.
    """

    name: ClassVar[str] = ""  # in the registry
    label: ClassVar[str] = "statistic"  # what an error message calls it
    of_pixels: ClassVar[bool] = False  # whether it looks at the pixels, and needs no layers

    def features(self, maps: Tensor) -> Tensor:
        """Return what `loss` needs of an image, shape (batch, ...), computed as soon as its maps exist.

        These are the feature maps of one layer, shape (batch, channel, height, width), float32, float64 or
        bfloat16. If `of_pixels` is set, they are the images, with 1 or 3 channels and values 0..1.
        """
        return maps

    def weighted_features(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Return `features` of a source with a mask, with the weights of positions, (1, 1, height, width)."""
        problem = f"The {self.label} {self.name} cannot be matched to a source with a mask."
        raise StimgenError(problem, "Leave out the mask.")

    def target(self, features: Tensor) -> Target:
        """Return what the features of a texture are compared with, made of those of the source.

        The first tensor has the shape of `features`, unless `zero_loss` is overridden.
        """
        return (features,)

    def flat_target(self, features: Tensor, exponent: float, floor: float) -> Target:
        """Return a target with the same minimum, which a descent reaches in fewer evaluations.

        `multiscale` uses it until its last stage. A loss whose curvatures follow the eigenvalues of a matrix
        can divide by their power `exponent`, 0 to 1/2, after adding the part `floor` of the largest
        eigenvalue to all.
        """
        return self.target(features)

    def loss(self, features: Tensor, target: Target) -> Tensor:
        """Return the loss of each image, shape (batch,); 0 where the features are those of the source."""
        raise NotImplementedError

    def zero_loss(self, target: Target) -> Tensor:
        """Return the loss of features that are all zero, shape (batch,), with which losses are compared."""
        return self.loss(torch.zeros_like(target[0]), target)

    def join(self, targets: Sequence[Target]) -> Target:
        """Return one target for a batch of those of its images."""
        return tuple(torch.cat(parts) for parts in zip(*targets, strict=True))

    def distance(self, features: Tensor, goal: Tensor) -> Tensor:
        """Return how far features are from those of the source, ``||f - g|| / ||g||``, shape (batch,)."""
        square = (features - goal).flatten(1).square().sum(dim=1)
        return (square / goal.flatten(1).square().sum(dim=1)).sqrt()

    def on_components(self, basis: Tensor) -> Statistic:
        """Return the statistic of features projected on principal components, shape (channel, components)."""
        problem = f"The {self.label} {self.name} cannot be matched on principal components."
        raise StimgenError(problem, "Leave out components.")

    def reduced(self, features: Tensor) -> Tensor:
        """Return the part of features that is matched, as it is saved to a file."""
        return features

    def restored(self, reduced: Tensor) -> Tensor:
        """Return features whose matched part is `reduced`."""
        return reduced


STATISTICS: Registry[Statistic] = Registry("statistic", "stimgen.texture.statistics")

AnyStatistic = TypeVar("AnyStatistic", bound=Statistic)


def register_statistic(name: str) -> Callable[[type[AnyStatistic]], type[AnyStatistic]]:
    """Return a decorator that registers a statistic with its default settings as `name`."""

    def decorate(kind: type[AnyStatistic]) -> type[AnyStatistic]:
        kind.name = name
        STATISTICS.add(name, kind())
        return kind

    return decorate


class Term(NamedTuple):
    """A statistic of one layer, or of the pixels if `layer` is None: one summand of an objective."""

    layer: str | None
    statistic: Statistic


def weighted_terms(
    layer_weights: Mapping[str, float],
    bases: Mapping[str, Tensor] | None = None,
    statistic: str = "gram",
    weight: float = 1.0,
) -> dict[Term, float]:
    """Return the terms by which a texture matches a statistic, with their weights in the objective.

    There is one for each layer, or one for the pixels if the statistic looks at these. All weights are
    multiplied by `weight`. `bases` has the principal components of layers, shape (channel, components), on
    which features are projected; layers without an entry are matched with all channels.
    """
    kind, bases = STATISTICS[statistic], bases or {}
    if kind.of_pixels:
        return {Term(None, kind): weight}
    return {
        Term(layer, kind.on_components(bases[layer]) if layer in bases else kind): weight * layer_weight
        for layer, layer_weight in layer_weights.items()
    }
