from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stimgen.texture.gram import gram_loss, gram_matrix
from stimgen.texture.metric import flat_metric

from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import GramObjective, together
from stimgen.texture.schedule import FLOOR

EIGENVALUES = np.array([100.0, 7.0, 0.9, 0.2])


def gram_with(eigenvalues: np.ndarray) -> np.ndarray:
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((len(eigenvalues),) * 2))
    return basis @ np.diag(eigenvalues) @ basis.T


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5])
def test_the_curvatures_in_the_features_are_those_of_the_formula(exponent: float) -> None:
    """At the minimum: (l_i + l_j) (l_i l_j)^(-a) / (N P), from the Hessian that autograd computes."""
    count, positions = len(EIGENVALUES), 7
    target = torch.from_numpy(gram_with(EIGENVALUES)).unsqueeze(0)
    metric = flat_metric(target, exponent, FLOOR)
    rng = np.random.default_rng(2)
    orthonormal, _ = np.linalg.qr(rng.standard_normal((positions, count)))
    values, vectors = np.linalg.eigh(target[0].numpy())
    features = torch.from_numpy(vectors @ np.diag(np.sqrt(positions * values)) @ orthonormal.T)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        maps = flat.view(1, count, 1, positions)
        difference = metric @ (gram_matrix(maps) - target) @ metric
        return gram_loss(difference, torch.zeros_like(target)).sum()

    hessian = torch.autograd.functional.hessian(loss, features.reshape(-1))
    found = np.sort(np.linalg.eigvalsh(hessian.numpy()))[::-1]
    raised = EIGENVALUES + FLOOR * EIGENVALUES.max()
    expected = [
        (EIGENVALUES[i] + EIGENVALUES[j]) * (raised[i] * raised[j]) ** -exponent / (count * positions)
        for i in range(count)
        for j in range(i, count)
    ]
    np.testing.assert_allclose(found[: len(expected)], sorted(expected, reverse=True), rtol=1e-6)
    np.testing.assert_allclose(found[len(expected) :], 0, atol=1e-9 * found[0])


def test_a_flat_metric_takes_the_square_root_of_the_condition_number() -> None:
    def condition(exponent: float) -> float:
        pairs = EIGENVALUES[:, None] + EIGENVALUES, np.outer(EIGENVALUES, EIGENVALUES)
        curvatures = pairs[0] * pairs[1] ** -exponent
        return float(curvatures.max() / curvatures.min())

    assert condition(0.5) < 1.01 * np.sqrt(condition(0))


@settings(deadline=None)  # the first factorisation loads a library
@given(st.floats(0, 0.5), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_metric_is_symmetric_and_positive(exponent: float, count: int, seed: int) -> None:
    """Also for Gram matrices of low rank, and of channels that are never active."""
    maps = np.random.default_rng(seed).standard_normal((1, count, 1, 2)).clip(0)
    target = gram_matrix(torch.from_numpy(maps)).float()
    metric = flat_metric(target, exponent, FLOOR)
    assert metric.isfinite().all()
    error = 1e-6 * metric.abs().max().item()
    torch.testing.assert_close(metric, metric.transpose(1, 2), rtol=0, atol=error)
    assert torch.linalg.eigvalsh(metric.double()).min() > 0


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return build_extractor(find_weights("vgg16", "imagenet"), deepest="pool1", dtype=torch.float64)


def objectives(extractor: FeatureExtractor, *, with_metrics: bool) -> list[GramObjective]:
    made = []
    for seed, layers in ((1, ["conv1_1", "pool1"]), (2, ["conv1_1"])):
        image = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(seed)).double()
        grams = extractor.features(image, layers, gram_matrix)
        metrics = (
            {layer: flat_metric(gram, 0.5, FLOOR) for layer, gram in grams.items()} if with_metrics else {}
        )
        ones = {layer: image.new_ones(1) for layer in layers}
        made.append(GramObjective(extractor, grams, ones, metrics))
    return made


def test_the_loss_in_a_metric_is_that_of_numpy(extractor: FeatureExtractor) -> None:
    objective = objectives(extractor, with_metrics=True)[0]
    image = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(3)).double()
    expected = zero = 0.0
    for layer, target in objective.targets.items():
        maps = extractor.features(image, [layer])[layer][0].reshape(64, -1).numpy()
        wanted = target[0].numpy()
        values, vectors = np.linalg.eigh(wanted)
        root = vectors @ np.diag((values.clip(0) + FLOOR * values[-1]) ** -0.25) @ vectors.T
        scaled = root @ (maps @ maps.T / maps.shape[1] - wanted) @ root
        expected += np.sum(scaled**2) / (4 * 64)
        zero += np.sum((root @ wanted @ root) ** 2) / (4 * 64)
    assert objective.loss(image).item() == pytest.approx(expected, rel=1e-9)
    assert objective.loss_of_zero().item() == pytest.approx(zero, rel=1e-9)


def test_the_gradient_in_a_metric_is_that_of_differences(extractor: FeatureExtractor) -> None:
    objective = objectives(extractor, with_metrics=True)[0]
    image = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(4)).double()
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(5)).double()
    _, gradient = objective(image)
    step = 1e-6
    slope = (objective.loss(image + step * direction) - objective.loss(image - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize("with_metrics", [True, False])
def test_problems_together_keep_their_metrics(extractor: FeatureExtractor, with_metrics: bool) -> None:
    alone = objectives(extractor, with_metrics=with_metrics)
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(6)).double()
    losses, gradients = together(alone)(images)
    for b, objective in enumerate(alone):
        loss, gradient = objective(images[b : b + 1])
        torch.testing.assert_close(losses[b : b + 1], loss)
        torch.testing.assert_close(gradients[b : b + 1], gradient)


def test_a_layer_that_is_never_active_keeps_its_differences() -> None:
    metric = flat_metric(torch.zeros((1, 3, 3)), 0.5, FLOOR)
    torch.testing.assert_close(metric, 3**0.25 * torch.eye(3).unsqueeze(0))
