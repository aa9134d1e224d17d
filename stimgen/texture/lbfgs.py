"""Limited-memory BFGS with box bounds for a batch of independent problems.

Every evaluation moves all problems at once, but each problem has its own history, step length and
acceptance: a problem whose trial point is refused tries a shorter step at the next evaluation while
the others go on. All decisions are masks on the device; nothing is read back to the host inside the
loop, so a GPU never waits for Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stimgen.texture.objective import Objective

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant; Nocedal & Wright (2006), section 3.1
SHORTEST_CUT, LONGEST_CUT = 0.1, 0.5  # a refused step is shortened by a factor between these
RESTART_AFTER = 8  # refusals in a row after which a problem forgets its history

Precondition = Callable[[Tensor], Tensor]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return each problem's inner product, shape (batch,).

    Summed in float64, so that it does not depend on the order in which a device adds the pixels.
    """
    return (a.flatten(1).double() * b.flatten(1).double()).sum(dim=1).to(a.dtype)


def per_problem(values: Tensor) -> Tensor:
    """Give values of shape (batch,) the shape (batch, 1, 1, 1) of images."""
    return values.view(-1, 1, 1, 1)


@dataclass
class History:
    """The last steps and gradient changes of each problem, each in its own ring of `length` slots."""

    steps: Tensor  # (slot, batch, channel, height, width)
    changes: Tensor
    inverse_curvature: Tensor  # (slot, batch): 1 / <step, change>; 0 marks an empty slot
    scale: Tensor  # (batch,): the start matrix is scale * precondition
    newest: Tensor  # (batch,): slot written last

    @classmethod
    def empty(cls, length: int, like: Tensor) -> History:
        """Return a history without entries for problems of the shape of `like`."""
        ring = like.new_zeros((length, *like.shape))
        batch = like.shape[0]
        return cls(
            ring,
            ring.clone(),
            like.new_zeros((length, batch)),
            like.new_ones(batch),
            torch.full((batch,), length - 1, device=like.device),
        )

    def update(self, accepted: Tensor, step: Tensor, change: Tensor, precondition: Precondition) -> None:
        """Store the pair of the problems in the mask `accepted` whose curvature is positive."""
        curvature = dot(step, change)
        preconditioned = dot(change, precondition(change))
        keep = accepted & (curvature > 1e-10 * (dot(step, step) * dot(change, change)).sqrt())
        slots, batch = self.inverse_curvature.shape
        problems = torch.arange(batch, device=step.device)
        slot = torch.where(keep, (self.newest + 1) % slots, self.newest)
        mask = per_problem(keep)
        self.steps[slot, problems] = torch.where(mask, step, self.steps[slot, problems])
        self.changes[slot, problems] = torch.where(mask, change, self.changes[slot, problems])
        self.inverse_curvature[slot, problems] = torch.where(
            keep, 1 / curvature, self.inverse_curvature[slot, problems]
        )
        self.scale = torch.where(keep, curvature / preconditioned, self.scale)
        self.newest = slot

    def forget(self, problems: Tensor) -> None:
        """Empty the history of the problems in the mask."""
        self.inverse_curvature = torch.where(problems, 0.0, self.inverse_curvature)

    def known(self) -> Tensor:
        """Return the mask of problems that have at least one entry."""
        return (self.inverse_curvature > 0).any(dim=0)

    def inverse_hessian(self, gradient: Tensor, precondition: Precondition) -> Tensor:
        """Apply the two-loop recursion; Nocedal & Wright (2006), algorithm 7.4."""
        slots, batch = self.inverse_curvature.shape
        problems = torch.arange(batch, device=gradient.device)
        vector = gradient
        recalled = []
        for age in range(slots):
            slot = (self.newest - age) % slots
            step, change = self.steps[slot, problems], self.changes[slot, problems]
            rho = self.inverse_curvature[slot, problems]
            alpha = rho * dot(step, vector)
            vector = vector - per_problem(alpha) * change
            recalled.append((step, change, rho, alpha))
        vector = per_problem(self.scale) * precondition(vector)
        for step, change, rho, alpha in reversed(recalled):
            beta = rho * dot(change, vector)
            vector = vector + per_problem(alpha - beta) * step
        return vector


@dataclass(frozen=True)
class Minimum:
    """What a minimisation ended with.

    Attributes
    ----------
    images
        Best point of each problem, shape (batch, channel, height, width).
    losses
        Loss there, shape (batch,).
    trace
        Loss of each problem's current point after each evaluation, shape (evaluation, batch).
    accepted
        Whether the evaluation was accepted as an iteration, shape (evaluation, batch); the first one, of
        the start, is none.
    """

    images: Tensor
    losses: Tensor
    trace: Tensor
    accepted: Tensor


def minimise(
    objective: Objective,
    start: Tensor,
    *,
    lower: Tensor,
    upper: Tensor,
    evaluations: int,
    history: int,
    precondition: Precondition = lambda vector: vector,
    after_evaluation: Callable[[], None] = lambda: None,
) -> Minimum:
    """Minimise a batch of independent functions, each inside its own box.

    Quasi-Newton steps by the L-BFGS two-loop recursion on the pixels that are free to move
    (two-metric projection: Bertsekas 1982, SIAM J. Control Optim. 20:221), projected on the box and
    accepted by Armijo's rule. A refused step is shortened by quadratic interpolation.

    Parameters
    ----------
    objective
        Losses and gradients of all problems at given points.
    start
        First points, shape (batch, channel, height, width), float32 or float64.
    lower, upper
        Bounds of each problem's pixels, shape (batch,).
    evaluations
        Number of times the objective is called, at least 1.
    history
        Number of steps each problem remembers.
    precondition
        Symmetric positive definite operator that L-BFGS starts its inverse Hessian from, up to scale.
    after_evaluation
        Called after each evaluation, for progress displays.

    Returns
    -------
    Minimum
        The best points; a problem's loss never rises from one accepted step to the next.
    """
    lower, upper = per_problem(lower), per_problem(upper)

    def project(points: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(points, upper), lower)

    def descend() -> tuple[Tensor, Tensor]:
        """Return the direction at `point`, and the step length to try first."""
        free = ~(((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0)))
        reduced = gradient * free
        quasi_newton = memory.inverse_hessian(reduced, precondition) * free
        steepest = precondition(reduced) * free
        # Without curvature, Polyak's step f / <g, d>: the objective's lowest value is 0.
        known = memory.known() & (dot(reduced, quasi_newton) > 0)
        polyak = loss / dot(reduced, steepest).clamp_min(torch.finfo(loss.dtype).tiny)
        direction = torch.where(per_problem(known), -quasi_newton, -steepest)
        return direction, torch.where(known, torch.ones_like(loss), polyak)

    point = project(start)
    loss, gradient = objective(point)
    after_evaluation()
    memory = History.empty(history, point)
    refusals = torch.zeros_like(loss)
    direction, length = descend()
    trace, accepts = [loss], [torch.zeros_like(loss, dtype=torch.bool)]
    for _ in range(evaluations - 1):
        trial = project(point + per_problem(length) * direction)
        trial_loss, trial_gradient = objective(trial)
        after_evaluation()
        step = trial - point
        slope = dot(gradient, step)
        # Projection can turn a step uphill; a step that is not downhill is refused, and NaN is.
        accepted = (trial_loss <= loss + SUFFICIENT_DECREASE * slope) & (slope < 0)
        memory.update(accepted, step, trial_gradient - gradient, precondition)
        # Minimum of the parabola through f(0), f'(0) and f(1) along the step.
        cut = -slope / (2 * (trial_loss - loss - slope))
        cut = cut.nan_to_num(SHORTEST_CUT).clamp(SHORTEST_CUT, LONGEST_CUT)

        mask = per_problem(accepted)
        point = torch.where(mask, trial, point)
        gradient = torch.where(mask, trial_gradient, gradient)
        loss = torch.where(accepted, trial_loss, loss)
        refusals = torch.where(accepted, 0, refusals + 1)
        stuck = refusals >= RESTART_AFTER
        memory.forget(stuck)
        refusals = torch.where(stuck, 0, refusals)
        renew = accepted | stuck
        fresh_direction, fresh_length = descend()
        direction = torch.where(per_problem(renew), fresh_direction, direction)
        length = torch.where(renew, fresh_length, length * cut)
        trace.append(loss)
        accepts.append(accepted)
    return Minimum(point, loss, torch.stack(trace), torch.stack(accepts))
