"""How far a synthesis has come after one of its stages, so that it can go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from stimgen.texture.problem import Problem, StageTrace


@dataclass(frozen=True, eq=False)
class Reached:
    """What the following stages of one problem need, and the result says of those before.

    The noise is not among it: it is drawn once, for the image of the first stage.

    Attributes
    ----------
    image
        The image, shape (1, channel, height, width); None before the problem's first stage.
    traces
        One per stage so far.
    restarts
        As in `stimgen.texture.problem.Synthesis`, so far.
    """

    image: Tensor | None
    traces: tuple[StageTrace, ...]
    restarts: int


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of problems that are synthesised together, between two stages.

    Attributes
    ----------
    size_px, rung
        The last finished stage (`stimgen.texture.schedule.Stage`).
    reached
        One for each problem, in their order.
    """

    size_px: int
    rung: int
    reached: tuple[Reached, ...]


class Checkpoints(Protocol):
    """Where checkpoints are kept. Problems are found again by their names, all of them and in their order."""

    def load(self, problems: Sequence[Problem]) -> Checkpoint | None:
        """Return how far these problems came when they were last synthesised; None to begin anew."""
        ...

    def save(self, problems: Sequence[Problem], checkpoint: Checkpoint) -> None:
        """Take how far these problems have come; called after each stage."""
        ...
