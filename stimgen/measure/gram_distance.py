"""A Gram distance, and the scale that it is read on. Free of torch, as tables are."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_RATIO = 2.0
"""Of ceiling to floor, below which distances are not normalised."""


@dataclass(frozen=True)
class GramDistance:
    """How far one layer's Gram matrix of an image is from its source's; see `texture.statistics.gram`.

    Attributes
    ----------
    layer
        Layer name.
    gram_loss
        ``1 / (4 N^2) * sum (G - T)^2``.
    gram_relative
        ``||G - T||_F / ||T||_F``.
    """

    layer: str
    gram_loss: float
    gram_relative: float


@dataclass(frozen=True)
class GramScale:
    """What relative Gram distances of one layer from one source can be compared with.

    Attributes
    ----------
    layer
        Layer name.
    floor
        Distance between the halves of the source, relative to the source's Gram matrix; None where half the
        source is too small for the layer.
    ceiling
        Mean relative distance of phase-scrambled versions of the source.
    """

    layer: str
    floor: float | None
    ceiling: float

    def normalised(self, gram_relative: float) -> float | None:
        """Return ``(d - floor) / (ceiling - floor)``; None unless the ceiling is at least twice the floor.

        Where the phase scramble is hardly farther from the source than its halves are from each other, as on
        conv1_1, which says little more than the spectrum does, the difference is nothing to divide by.

        0 is as far from the source as its halves are from each other, 1 as its phase scramble; a synthesis
        that matches the source better than one half matches the other is below 0.

        Examples
        --------
        >>> GramScale("pool1", 0.2, 1.0).normalised(0.6)
        0.5
        """
        if self.floor is None or self.ceiling < LEAST_RATIO * self.floor or self.ceiling == 0:
            return None
        return (gram_relative - self.floor) / (self.ceiling - self.floor)
