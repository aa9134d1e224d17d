"""Limited-memory BFGS with box bounds for a batch of independent problems.

Each evaluation moves all problems at once, but each problem has its own history, step length and acceptance:
a problem whose trial point is refused tries a shorter step at the next evaluation. All decisions are masks on
the device. The host only reads, every tenth evaluation, whether all problems have stopped, so that a GPU does
not wait for Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stimgen.texture.surfaces import Surface

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant; Nocedal & Wright (2006), section 3.1
SHORTEST_CUT, LONGEST_CUT = 0.1, 0.5  # between these is the factor that shortens a refused step
RESTART_AFTER = 8  # refusals in a row after which a problem forgets its history
LEAST_PROGRESS = 0.01  # relative fall of the loss below which a problem has stalled
LOOK_EVERY = 10  # evaluations on a GPU between two checks whether all problems have stopped

Precondition = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns the losses of images, shape (batch,), and their gradients, shape of the images."""


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return each problem's inner product, shape (batch,), summed in float64 against effects of the order."""
    return (a.flatten(1).double() * b.flatten(1).double()).sum(dim=1).to(a.dtype)


def per_problem(values: Tensor) -> Tensor:
    """Give values of shape (batch,) the shape (batch, 1, 1, 1) of images."""
    return values.view(-1, 1, 1, 1)


class History:
    """The last steps and gradient changes of each problem, each in its own ring of slots.

    `products` are the inner products <step i, change j>, valid where i is not newer than j; 0 on the diagonal
    marks an empty slot. The start matrix is scale · precondition. `newest` is the slot written last.
    """

    def __init__(self, length: int, like: Tensor) -> None:
        batch, pixels = like.flatten(1).shape
        self.steps = like.new_zeros((batch, length, pixels))
        self.changes = like.new_zeros((batch, length, pixels))
        self.products = like.new_zeros((batch, length, length), dtype=torch.float64)
        self.scale = like.new_ones(batch)
        self.newest = torch.full((batch,), length - 1, device=like.device)

    def update(self, accepted: Tensor, step: Tensor, change: Tensor, precondition: Precondition) -> None:
        """Store the pair of the problems in the mask `accepted` whose curvature is positive."""
        curvature = dot(step, change)
        preconditioned = dot(change, precondition(change))
        keep = accepted & (curvature > 1e-10 * (dot(step, step) * dot(change, change)).sqrt())
        batch, slots, _ = self.steps.shape
        problems = torch.arange(batch, device=step.device)
        slot = torch.where(keep, (self.newest + 1) % slots, self.newest)
        row = keep.view(-1, 1)
        self.steps[problems, slot] = torch.where(row, step.flatten(1), self.steps[problems, slot])
        self.changes[problems, slot] = torch.where(row, change.flatten(1), self.changes[problems, slot])
        with_change = _times(self.steps, change.flatten(1)).double()
        with_change[problems, slot] = curvature.double()
        self.products[problems, :, slot] = torch.where(row, with_change, self.products[problems, :, slot])
        self.scale = torch.where(keep, curvature / preconditioned, self.scale)
        self.newest = slot

    def rescale(self, factor: Tensor) -> None:
        """Take over what is known of each problem to a function that is `factor` times as steep."""
        self.changes = self.changes * factor.view(-1, 1, 1)
        self.products = self.products * factor.view(-1, 1, 1)
        self.scale = self.scale / factor

    def known(self) -> Tensor:
        """Return the mask of problems that have at least one entry."""
        return (self.products.diagonal(dim1=1, dim2=2) > 0).any(dim=1)

    def inverse_hessian(self, gradient: Tensor, precondition: Precondition) -> Tensor:
        """Return the L-BFGS inverse Hessian times `gradient`.

        These are the numbers of the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), from four
        products with all stored vectors at once. With R the inner products <step i, change j> for i not newer
        than j, and D its diagonal, the first loop solves R a = Sᵀg and the second Rᵀc = D a - Yᵀr with
        r = H0 (g - Y a); the result is r + S c.
        """
        slots = self.steps.shape[1]
        age = torch.arange(1, slots + 1, device=gradient.device)
        oldest_first = (self.newest.view(-1, 1) + age) % slots
        ordered = self.products.gather(1, oldest_first.unsqueeze(2).expand(-1, -1, slots))
        ordered = ordered.gather(2, oldest_first.unsqueeze(1).expand(-1, slots, -1))
        diagonal = ordered.diagonal(dim1=1, dim2=2)
        used = diagonal > 0
        upper = (ordered * (used.unsqueeze(1) & used.unsqueeze(2))).triu()
        upper = upper + torch.diag_embed((~used).double())

        def products_with(vectors: Tensor, image: Tensor) -> Tensor:
            return _times(vectors, image.flatten(1)).double().gather(1, oldest_first) * used

        def combination(coefficients: Tensor, vectors: Tensor) -> Tensor:
            by_slot = torch.zeros_like(coefficients).scatter(1, oldest_first, coefficients)
            summed: Tensor = torch.bmm(by_slot.to(vectors.dtype).unsqueeze(1), vectors)
            return summed.view_as(gradient)

        first = _solve(upper, products_with(self.steps, gradient), upper=True)
        vector = gradient - combination(first, self.changes)
        vector = per_problem(self.scale) * precondition(vector)
        second = diagonal * used * first - products_with(self.changes, vector)
        return vector + combination(_solve(upper.transpose(1, 2), second, upper=False) * used, self.steps)


def _times(rows: Tensor, vectors: Tensor) -> Tensor:
    product: Tensor = torch.bmm(rows, vectors.unsqueeze(2))
    return product.squeeze(2)


def _solve(triangle: Tensor, vectors: Tensor, *, upper: bool) -> Tensor:
    solution: Tensor = torch.linalg.solve_triangular(triangle, vectors.unsqueeze(2), upper=upper)
    return solution.squeeze(2)


@dataclass(frozen=True)
class Minimum:
    """The best point of each problem, and how it was found; shape (batch,) unless another is given."""

    images: Tensor  # (batch, channel, height, width)
    losses: Tensor
    trace: Tensor  # (evaluation, batch), loss of the current point; the last is repeated after the stop
    accepted: Tensor  # (evaluation, batch), whether the evaluation was accepted as an iteration
    evaluations: Tensor  # until the problem stopped
    low_enough: Tensor  # whether it stopped at the loss `enough`
    stalled: Tensor  # whether it stopped because its loss did not fall any more
    restarts: Tensor  # how often it forgot its history
    gradients: Tensor  # shape of the images
    memory: History


def minimise(
    objective: Objective,
    start: Tensor,
    *,
    lower: Tensor,
    upper: Tensor,
    evaluations: int,
    history: int,
    precondition: Precondition = lambda vector: vector,
    enough: float | Tensor = -math.inf,
    patience: int | None = None,
    surface: Surface | None = None,
    previous: Minimum | None = None,
    after_evaluation: Callable[[Tensor], None] = lambda losses: None,
) -> Minimum:
    """Minimise a batch of independent functions, each inside its own box.

    Quasi-Newton steps by the L-BFGS two-loop recursion on the pixels that are free to move
    (two-metric projection: Bertsekas 1982, SIAM J. Control Optim. 20:221), projected on the box and
    accepted by Armijo's rule. A refused step is shortened by quadratic interpolation; after
    `RESTART_AFTER` refusals in a row, or a loss that is not finite, the problem forgets its history and
    continues down its gradient. A problem that has stopped does not move any more.

    With a `surface`, all points are on it: gradients and directions are projected on its tangent space, and
    trial points are brought back to it (Absil, Mahony & Sepulchre 2008, chapter 4).

    After a `previous` minimisation of similar functions, which ended at `start`, its history is kept and
    scaled by the ratio of the gradients there.
    """
    lower, upper = per_problem(lower), per_problem(upper)

    def project(points: Tensor) -> Tensor:
        for _ in range(1 if surface is None else surface.rounds):
            points = torch.maximum(torch.minimum(points, upper), lower)
            if surface is not None:
                points = surface.retract(points)
        return points

    memory = previous.memory if previous else History(history, start)

    def descend() -> tuple[Tensor, Tensor]:
        """Return the direction at `point`, and the step length to try first."""
        free = ~(((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0)))
        reduced = along(gradient * free)
        quasi_newton = along(memory.inverse_hessian(reduced, precondition) * free)
        steepest = along(precondition(reduced) * free)
        # Without curvature, Polyak's step f / <g, d>: the objective's lowest value is 0.
        known = memory.known() & (dot(reduced, quasi_newton) > 0)
        polyak = loss / dot(reduced, steepest).clamp_min(torch.finfo(loss.dtype).tiny)
        direction = torch.where(per_problem(known), -quasi_newton, -steepest)
        return direction, torch.where(known, torch.ones_like(loss), polyak)

    def tangent() -> Callable[[Tensor], Tensor]:
        return (lambda vectors: vectors) if surface is None else surface.tangent(point)

    point = project(start)
    along = tangent()
    loss, gradient = objective(point)
    after_evaluation(loss)
    if previous:
        steeper = (dot(gradient, gradient) / dot(previous.gradients, previous.gradients)).sqrt()
        memory.rescale(torch.where(steeper.isfinite() & (steeper > 0), steeper, 1.0))
    low_enough = loss <= enough
    stalled = torch.zeros_like(low_enough)
    used = torch.ones_like(loss, dtype=torch.long)
    refusals, restarts = torch.zeros_like(used), torch.zeros_like(used)
    direction, length = descend()
    trace, accepts = [loss], [torch.zeros_like(low_enough)]
    # To look makes a GPU wait for all work so far.
    look_every = 1 if start.device.type == "cpu" else LOOK_EVERY
    for evaluation in range(1, evaluations):
        going = ~(low_enough | stalled)
        if evaluation % look_every == 0 and not going.any():
            break
        trial = project(point + per_problem(length) * direction)
        trial_loss, trial_gradient = objective(trial)
        after_evaluation(trial_loss)
        used = used + going
        step = trial - point
        slope = dot(gradient, step)
        # Projection can turn a step uphill; a step that is not downhill is refused, and NaN is.
        accepted = going & (trial_loss <= loss + SUFFICIENT_DECREASE * slope) & (slope < 0)
        memory.update(accepted, step, along(trial_gradient - gradient), precondition)
        # Minimum of the parabola through f(0), f'(0) and f(1) along the step.
        cut = -slope / (2 * (trial_loss - loss - slope))
        cut = cut.nan_to_num(SHORTEST_CUT).clamp(SHORTEST_CUT, LONGEST_CUT)

        mask = per_problem(accepted)
        point = torch.where(mask, trial, point)
        along = tangent()
        gradient = torch.where(mask, trial_gradient, gradient)
        loss = torch.where(accepted, trial_loss, loss)
        refusals = torch.where(accepted, 0, refusals + 1)
        stuck = going & ((refusals >= RESTART_AFTER) | ~trial_loss.isfinite()) & memory.known()
        memory.products = torch.where(stuck.view(-1, 1, 1), 0.0, memory.products)
        restarts = restarts + stuck
        refusals = torch.where(stuck, 0, refusals)
        renew = accepted | stuck
        fresh_direction, fresh_length = descend()
        direction = torch.where(per_problem(renew), fresh_direction, direction)
        length = torch.where(renew, fresh_length, length * cut)
        trace.append(loss)
        accepts.append(accepted)
        low_enough = low_enough | (loss <= enough)
        if patience is not None and evaluation >= patience:
            stalled = stalled | (~low_enough & (loss > (1 - LEAST_PROGRESS) * trace[-1 - patience]))
    traces = torch.stack(trace), torch.stack(accepts)
    return Minimum(point, loss, *traces, used, low_enough, stalled, restarts, gradient, memory)
