"""What is synthesised, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.texture.goal import Goal


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of loss and gradient, of all problems that share a stage.

    Attributes
    ----------
    stage, stages
        Place of the stage, from 1 on, among those of the problems that are synthesised together.
    size_px
        Side of the image.
    layers
        Layers that are matched.
    number, most
        Place of the evaluation in its stage, from 1 on, and after how many the stage ends at the latest;
        `gatys2015` counts iterations, and may need a few more.
    losses
        Loss of each problem as it was found, in the stage's metric, shape (problem,). It is on the device:
        to read it makes a GPU wait.
    zero_losses
        Loss of Gram matrices that are zero, shape (problem,), likewise.
    """

    stage: int
    stages: int
    size_px: int
    layers: tuple[str, ...]
    number: int
    most: int
    losses: Tensor
    zero_losses: Tensor


EvaluationHook = Callable[[Evaluation], None]
"""Called after each evaluation."""


def no_hook(evaluation: Evaluation) -> None:
    """Do nothing after an evaluation."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One texture to synthesise.

    Attributes
    ----------
    goal
        The statistics to reach: `stimgen.texture.goal.SourceImage` of the source, or saved ones. Problems of
        a batch that share a goal share its analysis.
    layer_weights
        Layer name to its weight in the objective; the layers named are the layer set.
    noise
        Generator of the start image; the same state gives the same texture.
    size_px
        Side of the texture, px; None for that of the goal.
    bases
        Layer name to principal components, shape (channel, components), on which the features are projected
        before they are matched (`stimgen.texture.components`). Layers without an entry are matched whole.
    name
        By which its checkpoints are found: the same for the same texture alone.
    """

    goal: Goal
    layer_weights: Mapping[str, float]
    noise: np.random.Generator
    size_px: int | None = None
    bases: Mapping[str, Tensor] = field(default_factory=dict)
    name: str = ""

    @property
    def side_px(self) -> int:
        """Side of the texture, px."""
        return self.goal.size_px if self.size_px is None else self.size_px


@dataclass(frozen=True, eq=False)
class StageTrace:
    """How the loss of one problem fell in one stage.

    Attributes
    ----------
    size_px
        Side of the image.
    layers
        Layers that were matched.
    precision
        Precision of the convolutions: "bfloat16" or "float32" ("float64" in comparisons).
    metric
        How differences of Gram matrices count: "plain", as in the paper, or "flat" (`texture.metric`).
    stop_reason
        Why the stage ended.
    losses
        Loss of the best point so far, after each evaluation.
    accepted
        Whether the evaluation ended an iteration.
    """

    size_px: int
    layers: tuple[str, ...]
    precision: str
    metric: str
    stop_reason: str
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
        One per stage, in their order.
    stop_reason
        Why the descent at full size ended: "evaluations" or "iterations" where the budget was used up, "stop
        distance" or "no progress" by the rules of `multiscale`, else what the optimiser said.
    restarts
        How often an optimiser forgot what it had learnt, because no step was accepted or a loss was not
        finite.
    """

    image: Image
    loss: float
    traces: tuple[StageTrace, ...]
    stop_reason: str
    restarts: int

    @property
    def evaluations(self) -> int:
        """Number of times loss and gradient were computed, over all stages."""
        return sum(len(trace.losses) for trace in self.traces)

    @property
    def iterations(self) -> int:
        """Number of accepted steps over all stages."""
        return int(sum(np.count_nonzero(trace.accepted) for trace in self.traces))
