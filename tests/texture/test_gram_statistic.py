from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from texture_problems import problem, random_network

from stimgen.texture.objective import Objective, Part, together
from stimgen.texture.presets import FLOOR
from stimgen.texture.statistic import Term
from stimgen.texture.statistics.gram import Gram, gram_matrix, relative_gram_distance

MAPS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-8, 8, width=32),
)


def gram64(maps: np.ndarray) -> np.ndarray:
    """Equation 1 of the paper, divided by the number of positions, one image at a time."""
    flat = maps.astype(np.float64).reshape(maps.shape[0], maps.shape[1], -1)
    return np.stack([image @ image.T / image.shape[1] for image in flat])


@given(MAPS)
def test_gram_matrix_is_that_of_numpy_in_float64(maps: np.ndarray) -> None:
    gram = gram_matrix(torch.from_numpy(maps))
    assert gram.dtype == torch.float32
    np.testing.assert_allclose(gram.numpy(), gram64(maps), rtol=1e-5, atol=1e-4)


def test_bfloat16_features_are_summed_in_float32() -> None:
    maps = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    # In bfloat16 a sum of ones would stop at 256.
    assert gram_matrix(maps).item() == 1.0
    assert gram_matrix(maps).dtype == torch.float32


def test_the_gradient_of_bfloat16_features_is_that_of_numpy() -> None:
    rng = np.random.default_rng(1)
    maps = torch.from_numpy(rng.random((1, 5, 6, 7))).bfloat16().requires_grad_()
    weights = rng.standard_normal((5, 5))
    (gram_matrix(maps) * torch.from_numpy(weights).float()).sum().backward()
    flat = maps.detach().double().numpy().reshape(5, 42)
    expected = (weights + weights.T) @ flat / 42
    assert maps.grad is not None
    assert np.linalg.norm(maps.grad.double().numpy().reshape(5, 42) - expected) < 0.01 * np.linalg.norm(
        expected
    )


def test_relative_distance_is_a_ratio_of_frobenius_norms() -> None:
    rng = np.random.default_rng(2)
    a, b = gram64(rng.standard_normal((3, 4, 5, 5))), gram64(rng.standard_normal((3, 4, 5, 5)))
    distance = relative_gram_distance(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    for i in range(3):
        assert distance[i] == pytest.approx(np.linalg.norm(a[i] - b[i]) / np.linalg.norm(b[i]), rel=1e-12)
    assert relative_gram_distance(torch.from_numpy(a), torch.from_numpy(a)).tolist() == [0, 0, 0]


def test_loss_in_the_flat_metric_is_that_of_numpy() -> None:
    network = random_network(torch.float64)
    ours = problem("gravel", ["conv1_1", "pool1"], 1, size_px=16)
    image = torch.rand((1, 1, 16, 16), generator=torch.Generator().manual_seed(3)).double()
    found = ours.goal.features(network, list(ours.terms), 0)
    parts, expected, zero = {}, 0.0, 0.0
    for term, gram in found.items():
        parts[term] = Part(term.statistic.flat_target(gram, 0.5, FLOOR), gram.new_ones(1))
        layer = str(term.layer)
        maps = network.features(image.expand(-1, 3, -1, -1), [layer])[layer][0].reshape(64, -1).numpy()
        wanted = gram[0].numpy()
        values, vectors = np.linalg.eigh(wanted)
        root = vectors @ np.diag((values.clip(0) + FLOOR * values[-1]) ** -0.25) @ vectors.T
        expected += np.sum((root @ (maps @ maps.T / maps.shape[1] - wanted) @ root) ** 2) / (4 * 64)
        zero += np.sum((root @ wanted @ root) ** 2) / (4 * 64)
    objective = Objective(network, parts)
    assert objective.loss(image).item() == pytest.approx(expected, rel=1e-9)
    assert objective.loss_of_zero().item() == pytest.approx(zero, rel=1e-9)


@pytest.mark.parametrize("kind", ["plain", "flat", "components"])
def test_problems_of_a_batch_keep_their_targets(kind: str) -> None:
    """Also where one matches all channels, others components, and one lacks a layer."""
    network = random_network(torch.float64)
    bases = [None, None, None]
    if kind == "components":
        drawn = torch.Generator().manual_seed(1)
        bases[1:] = [
            torch.linalg.qr(torch.rand((64, count), generator=drawn, dtype=torch.float64))[0]
            for count in (5, 9)
        ]
    alone = []
    for layers, basis in zip((["conv1_1", "pool1"], ["conv1_1"], ["conv1_1", "pool1"]), bases, strict=True):
        ours = problem("brick", layers, 1, size_px=16)
        found = ours.goal.features(network, list(ours.terms), 0)
        parts = {}
        for term, gram in found.items():
            statistic = Gram(basis)
            target = statistic.flat_target(gram, 0.5, FLOOR) if kind == "flat" else statistic.target(gram)
            parts[Term(term.layer, statistic)] = Part(target, gram.new_full((1,), 1.5))
        alone.append(Objective(network, parts))
    images = torch.rand((3, 1, 16, 16), generator=torch.Generator().manual_seed(6)).double()
    losses, gradients = together(alone)(images)
    for b, objective in enumerate(alone):
        loss, gradient = objective(images[b : b + 1])
        torch.testing.assert_close(losses[b : b + 1], loss)
        torch.testing.assert_close(gradients[b : b + 1], gradient)
