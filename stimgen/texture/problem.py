"""What is synthesised, what comes out, and the state in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stimgen.images.masks import Inside
from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.objective import analyse, to_batch
from stimgen.texture.saved import PixelRange, TextureStatistics
from stimgen.texture.statistic import Term
from stimgen.texture.surfaces import Surface


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A goal whose statistics are taken from an image, (H, W) or (H, W, 3) with values 0..1.

    With `inside`, (H, W), they are of the pixels inside; the others have to have the mean of these.
    """

    image: Image
    inside: Inside | None = None

    @property
    def size_px(self) -> int:
        """Shorter side of the image, px."""
        return int(min(self.image.shape[:2]))

    @property
    def halvings(self) -> int:
        """How often the image can be halved until one pixel is left."""
        return self.size_px.bit_length() - 1

    def pixels(self, extractor: FeatureExtractor) -> PixelRange:
        """Return what is known of pixels, in the precision and on the device of the network's input."""
        source = to_batch([self.image], extractor.device, extractor.gain.dtype)
        statistics = (torch.mean, torch.amin, torch.amax)
        mean, lowest, highest = (statistic(source, dim=(2, 3), keepdim=True) for statistic in statistics)
        deviations = (source - mean).flatten(2).double()
        covariance = deviations @ deviations.transpose(1, 2) / deviations.shape[2]
        return PixelRange(mean, lowest, highest, covariance.to(source))

    def features(
        self, extractor: FeatureExtractor, terms: Iterable[Term], halvings: int
    ) -> dict[Term, Tensor]:
        """Return the features of the image averaged down by ``2 ** halvings``, with a batch of one."""
        source = to_batch([self.image], extractor.device, extractor.gain.dtype)
        sides = [side >> halvings for side in source.shape[2:]]
        smaller = F.interpolate(source, size=sides, mode="area")
        return analyse(extractor, smaller, terms, self.inside)


Goal: TypeAlias = SourceImage | TextureStatistics
"""The statistics that a synthesis must reach, of an image or saved."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One texture to synthesise. Problems of a batch that share a goal share its analysis."""

    goal: Goal
    terms: Mapping[Term, float]  # with weights
    noise: np.random.Generator  # of the start image
    size_px: int | None = None  # None for that of the goal
    name: str = ""  # of its checkpoints
    surface: Surface | None = None  # of images at full size, to which the texture is confined

    @property
    def side_px(self) -> int:
        """Side of the texture, px."""
        return self.goal.size_px if self.size_px is None else self.size_px


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Evaluation `number` of at most `most`, of all problems that share stage `stage` of `stages`.

    All are counted from 1. `gatys2015` counts iterations, and may need a few more evaluations. `losses` of
    the problems, and `zero_losses` of features that are zero, are on the device: reading them makes a GPU
    wait.
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


def no_hook(evaluation: Evaluation) -> None:
    """Do nothing after an evaluation."""


@dataclass(frozen=True, eq=False)
class StageTrace:
    """How the loss of one problem fell in one stage."""

    size_px: int
    layers: tuple[str, ...]
    precision: str  # of the convolutions: "bfloat16", "float32" or "float64"
    metric: str  # "plain", as in the paper, or "flat" (`Statistic.flat_target`)
    stop_reason: str
    losses: NDArray[np.float64]  # of the best point so far, after each evaluation
    accepted: NDArray[np.bool_]  # whether the evaluation ended an iteration


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A synthesised texture.

    Attributes
    ----------
    image
        (H, W) or (H, W, 3), inside the bounds of its preset: 0..1 but for `gatys2015` in colour, whose
        published bounds let a channel leave that range a little.
    loss
        Weighted sum of losses at the end, as the optimiser computed it.
    traces
        One per stage, in their order.
    stop_reason
        Why the descent at full size ended: "evaluations" or "iterations" where the budget was used up, "stop
        distance" or "no progress" by the rules of `multiscale`, else the message of the optimiser.
    restarts
        How often an optimiser forgot its history, because no step was accepted or a loss was not finite.
    confined_to
        What all images at full size shared beside layers: "histogram", "luminance", "rotational_spectrum",
        "full_spectrum", or None.
    """

    image: Image
    loss: float
    traces: tuple[StageTrace, ...]
    stop_reason: str
    restarts: int
    confined_to: str | None = None

    @property
    def evaluations(self) -> int:
        """Number of times loss and gradient were computed, over all stages."""
        return sum(len(trace.losses) for trace in self.traces)

    @property
    def iterations(self) -> int:
        """Number of accepted steps over all stages."""
        return int(sum(np.count_nonzero(trace.accepted) for trace in self.traces))


@dataclass(frozen=True, eq=False)
class Reached:
    """A problem between two stages: its image (1, channel, height, width), None before the first stage."""

    image: Tensor | None = None
    traces: tuple[StageTrace, ...] = ()
    restarts: int = 0


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of problems that are synthesised together, after the stage of this size and rung."""

    size_px: int
    rung: int
    reached: tuple[Reached, ...]


class Checkpoints(Protocol):
    """Where checkpoints are kept, by the names of the problems that are synthesised together."""

    def load(self, problems: Sequence[Problem]) -> Checkpoint | None:
        """Return the last state of these problems; None to start from the noise."""

    def save(self, problems: Sequence[Problem], checkpoint: Checkpoint) -> None:
        """Keep the state of these problems after a stage."""
