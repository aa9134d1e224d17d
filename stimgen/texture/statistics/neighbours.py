"""How neighbouring pixels go together: what convolutions hardly see at the highest spatial frequencies."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stimgen.errors import StimgenError
from stimgen.texture.statistic import Statistic, Target, register_statistic
from stimgen.texture.statistics.gram import flat_metric, gram_matrix

SIDE_PX = 3
FLOOR = 1e-5
"""Variance, relative to the largest, below which directions are not matched in proportion."""


@register_statistic("neighbours")
class Neighbours(Statistic):
    """The mean products T of all pairs of values in 3 × 3 pixels, all channels together.

    The loss is ``1 / (4 N) ||T^(-1/2) (G - T) T^(-1/2)||_F^2`` with N values: relative errors of the variance
    in each direction, among them the checkerboards that pooling averages away.
    """

    label = "covariance of neighbouring pixels"
    of_pixels = True

    def features(self, maps: Tensor) -> Tensor:
        """Return the mean products, shape (batch, N, N)."""
        return gram_matrix(_neighbourhoods(maps).unsqueeze(2))

    def weighted_features(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Return the means over neighbourhoods, each with the least weight of its pixels."""
        least = _neighbourhoods(weights).amin(dim=1, keepdim=True)
        if not least.any():
            raise StimgenError(
                "A mask has no 3 × 3 pixels inside, and its histogram or luminance is to be matched.",
                "Use a larger object, or leave out the matching.",
            )
        return gram_matrix((_neighbourhoods(maps) * (least / least.mean()).sqrt()).unsqueeze(2))

    def target(self, features: Tensor) -> Target:
        """Return T and ``N^(1/4) T^(-1/2)``."""
        return features, flat_metric(features, 1.0, FLOOR)

    def loss(self, features: Tensor, target: Target) -> Tensor:
        """Return the loss of each image, shape (batch,)."""
        goal, metric = target
        difference: Tensor = metric @ (features - goal) @ metric
        return difference.square().sum(dim=(1, 2)) / (4 * features.shape[-1] ** 2)


def _neighbourhoods(maps: Tensor) -> Tensor:
    """Return the values around each pixel, (batch, N, pixels), mirrored beyond the border.

    So all pixels count alike; otherwise those of the border would be free to differ from their neighbours.
    """
    return F.unfold(F.pad(maps, (1, 1, 1, 1), mode="replicate"), SIDE_PX)
