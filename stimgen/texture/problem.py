"""What is synthesised, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image

EvaluationHook = Callable[[int, tuple[str, ...], int], None]
"""Called after each evaluation with the image's side in pixels, the layers, and the number of problems."""


def no_hook(size_px: int, layers: tuple[str, ...], problems: int) -> None:
    """Do nothing after an evaluation."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One texture to synthesise.

    Attributes
    ----------
    source
        Source image, (H, W) for a grey stimulus or (H, W, 3) for RGB, values 0..1.
    layer_weights
        Layer name to its weight in the objective; the layers named are the layer set.
    noise
        Generator of the start image; the same state gives the same texture.
    """

    source: Image
    layer_weights: Mapping[str, float]
    noise: np.random.Generator


@dataclass(frozen=True, eq=False)
class ScaleTrace:
    """How the loss of one problem fell at one scale.

    Attributes
    ----------
    size_px
        Side of the image.
    losses
        Loss of the best point so far, after each evaluation.
    accepted
        Whether the evaluation ended an iteration.
    """

    size_px: int
    losses: NDArray[np.float64]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A synthesised texture.

    Attributes
    ----------
    image
        (H, W) or (H, W, 3), inside the bounds of its preset: 0..1 but for `gatys2015` in colour, whose
        published bounds let a channel leave that range a little.
    loss
        Weighted sum of Gram losses at the end, as the optimiser saw it.
    traces
        One per scale, coarsest first.
    stop_reason
        Why it ended: "evaluations" or "iterations" where the budget was used up, else what the optimiser
        said.
    """

    image: Image
    loss: float
    traces: tuple[ScaleTrace, ...]
    stop_reason: str

    @property
    def evaluations(self) -> int:
        """Number of times loss and gradient were computed, over all scales."""
        return sum(len(trace.losses) for trace in self.traces)

    @property
    def iterations(self) -> int:
        """Number of accepted steps over all scales."""
        return int(sum(np.count_nonzero(trace.accepted) for trace in self.traces))
