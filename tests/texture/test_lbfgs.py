from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from stimgen.texture.lbfgs import History, minimise


class Quadratics:
    """f_b(x) = 1/2 (x - c_b)^T A_b (x - c_b), a different one for every problem of the batch."""

    def __init__(self, batch: int, size: int, condition: float = 100.0) -> None:
        rng = np.random.default_rng(7)
        self.matrices, self.centres = [], torch.from_numpy(rng.standard_normal((batch, size)))
        for _ in range(batch):
            basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
            self.matrices.append(
                torch.from_numpy(basis @ np.diag(np.geomspace(1, condition, size)) @ basis.T)
            )

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        offsets = images.flatten(1) - self.centres
        gradients = torch.stack([a @ offset for a, offset in zip(self.matrices, offsets, strict=True)])
        return 0.5 * (offsets * gradients).sum(dim=1), gradients.view(images.shape)


def bounds(batch: int, low: float, high: float) -> dict[str, Tensor]:
    return {
        "lower": torch.full((batch,), low, dtype=torch.float64),
        "upper": torch.full((batch,), high, dtype=torch.float64),
    }


def start(batch: int) -> Tensor:
    return torch.zeros((batch, 1, 4, 5), dtype=torch.float64)


def test_bounds_give_the_solution_of_scipy() -> None:
    quadratics = Quadratics(3, 20)
    minimum = minimise(quadratics, start(3), **bounds(3, -0.3, 0.4), evaluations=400, history=10)
    for b in range(3):

        def objective(point: np.ndarray, b: int = b) -> tuple[float, np.ndarray]:
            losses, gradients = quadratics(torch.from_numpy(point).view(1, 1, 4, 5).expand(3, 1, 4, 5))
            return float(losses[b]), gradients[b].numpy().ravel()

        expected = minimize(
            objective, np.zeros(20), jac=True, method="L-BFGS-B", bounds=[(-0.3, 0.4)] * 20, tol=1e-14
        )
        assert minimum.losses[b].item() == pytest.approx(expected.fun, rel=1e-6)
        np.testing.assert_allclose(minimum.images[b].numpy().ravel(), expected.x, atol=1e-4)
        assert minimum.images.min() >= -0.3
        assert minimum.images.max() <= 0.4


@pytest.mark.parametrize("steeper", [1.0, 100.0])
def test_a_descent_that_goes_on_takes_the_steps_of_one_that_was_not_left(steeper: float) -> None:
    """Also where the function has become `steeper`."""
    quadratics, limits = Quadratics(1, 20), bounds(1, -0.3, 0.4)

    def scaled(images: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = quadratics(images)
        return steeper * losses, steeper * gradients

    whole = minimise(quadratics, start(1), **limits, evaluations=24, history=5)
    done = int(whole.accepted[:12, 0].nonzero()[-1]) + 1
    first = minimise(quadratics, start(1), **limits, evaluations=done, history=5)
    # Its first evaluation is where the other has been.
    rest = minimise(scaled, first.images, **limits, evaluations=25 - done, history=5, previous=first)
    torch.testing.assert_close(rest.images, whole.images, rtol=0, atol=1e-9)
    assert (whole.images - first.images).abs().max() > 1e-4


def test_the_loss_never_rises_and_the_last_point_is_the_best() -> None:
    def rosenbrock(images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            x = images.flatten(1)
            loss = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(dim=1)
            (gradient,) = torch.autograd.grad(loss.sum(), images)
        return loss.detach(), gradient

    first = torch.linspace(-1.2, 1, 20, dtype=torch.float64).view(1, 1, 4, 5)
    minimum = minimise(rosenbrock, first, **bounds(1, -5, 5), evaluations=600, history=10)
    assert (minimum.trace[1:] <= minimum.trace[:-1]).all()
    assert not minimum.accepted.all()  # the line search had work to do
    assert minimum.losses.item() < 1e-8
    assert torch.equal(minimum.losses, rosenbrock(minimum.images)[0])


def test_the_recursion_is_the_bfgs_formula() -> None:
    """Nocedal & Wright (2006), equation 6.17, on dense matrices, after the ring has wrapped."""
    rng = np.random.default_rng(3)
    size, slots = 6, 3
    history = History(slots, torch.zeros((2, 1, 2, 3), dtype=torch.float64))
    matrix = np.diag(np.arange(1.0, size + 1))
    pairs: list[list[tuple[np.ndarray, np.ndarray]]] = [[], []]
    for turn in range(5):
        steps = rng.standard_normal((2, size))
        changes = steps @ matrix
        accepted = torch.tensor([True, turn != 2])  # the second problem refuses one step
        for b in range(2):
            if accepted[b]:
                pairs[b].append((steps[b], changes[b]))
        history.update(
            accepted,
            torch.from_numpy(steps).view(2, 1, 2, 3),
            torch.from_numpy(changes).view(2, 1, 2, 3),
            lambda vector: vector,
        )
    gradient = rng.standard_normal((2, size))
    product = history.inverse_hessian(torch.from_numpy(gradient).view(2, 1, 2, 3), lambda vector: vector)
    for b in range(2):
        last_step, last_change = pairs[b][-1]
        inverse = np.eye(size) * (last_step @ last_change) / (last_change @ last_change)
        for step, change in pairs[b][-slots:]:
            rho = 1 / (step @ change)
            left = np.eye(size) - rho * np.outer(step, change)
            inverse = left @ inverse @ left.T + rho * np.outer(step, step)
        np.testing.assert_allclose(product[b].numpy().ravel(), inverse @ gradient[b], rtol=1e-10)


def test_a_problem_stops_when_its_loss_is_low_enough_and_stays_there() -> None:
    quadratics = Quadratics(3, 20)
    enough = torch.tensor([1e-3, 0.0, 1.0], dtype=torch.float64)
    minimum = minimise(quadratics, start(3), **bounds(3, -9, 9), evaluations=60, history=10, enough=enough)
    assert minimum.low_enough.tolist() == [True, False, True]
    assert minimum.evaluations[1] == len(minimum.trace) == 60
    for b in (0, 2):
        last = int(minimum.evaluations[b])
        assert minimum.trace[last - 1, b] <= enough[b] < minimum.trace[last - 2, b]
        assert (minimum.trace[last - 1 :, b] == minimum.losses[b]).all()
        assert not minimum.accepted[last:, b].any()
    assert torch.equal(minimum.losses, quadratics(minimum.images)[0])


def test_a_problem_without_progress_stops() -> None:
    """The first problem ends at its bounds; the second starts at its minimum."""

    def towards(images: Tensor) -> tuple[Tensor, Tensor]:
        offsets = images.flatten(1) - torch.tensor([[5.0], [0.0]], dtype=torch.float64)
        return (1 + offsets.square().sum(dim=1)), 2 * offsets.view(images.shape)

    first = torch.zeros((2, 1, 1, 3), dtype=torch.float64)
    minimum = minimise(towards, first, **bounds(2, -1, 1), evaluations=50, history=5, patience=6)
    assert minimum.stalled.tolist() == [True, True]
    assert not minimum.low_enough.any()
    assert minimum.evaluations.max() < 20
    torch.testing.assert_close(minimum.images[0], torch.ones((1, 1, 3), dtype=torch.float64))


def test_a_loss_that_is_not_finite_restarts_the_problem_with_a_shorter_step() -> None:
    calls = []

    def broken_once(images: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(images.clone())
        losses, gradients = quadratics(images)
        return (losses * torch.nan, gradients * torch.nan) if len(calls) == 12 else (losses, gradients)

    quadratics = Quadratics(1, 20)
    minimum = minimise(broken_once, start(1), **bounds(1, -9, 9), evaluations=150, history=10)
    assert minimum.restarts.tolist() == [1]
    assert not minimum.accepted[11, 0]
    assert minimum.losses.max() < 1e-8
    undisturbed = minimise(quadratics, start(1), **bounds(1, -9, 9), evaluations=150, history=10)
    assert undisturbed.restarts.tolist() == [0]
