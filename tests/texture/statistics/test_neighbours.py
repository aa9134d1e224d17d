import numpy as np
import torch

from stimgen.texture.statistic import STATISTICS

RNG = np.random.default_rng(1)


def products(image, weights=None):
    """Mean products of values in 3 × 3 pixels, (channel, row, column) in this order."""
    height, width = image.shape[1:]
    image = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    weights = None if weights is None else np.pad(weights, 1, mode="symmetric")
    total, count = 0, 0
    for y in range(height):
        for x in range(width):
            weight = 1 if weights is None else weights[y : y + 3, x : x + 3].min()
            values = image[:, y : y + 3, x : x + 3].ravel()
            total, count = total + weight * np.outer(values, values), count + weight
    return total / count


def test_features_are_mean_products_of_neighbouring_values():
    image, statistic = RNG.random((3, 8, 9)), STATISTICS["neighbours"]
    found = statistic.features(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(found, products(image), rtol=1e-6)
    weights = (RNG.random((8, 9)) > 0.1).astype(float)
    inside = statistic.weighted_features(torch.from_numpy(image)[None], torch.from_numpy(weights)[None, None])
    np.testing.assert_allclose(inside[0], products(image, weights), rtol=1e-6)


def test_loss_is_the_relative_error_of_variance_in_each_direction():
    statistic = STATISTICS["neighbours"]
    source, other = (products(RNG.random((1, 12, 12))) for _ in range(2))
    values, vectors = np.linalg.eigh(source)
    root = vectors @ np.diag((values + 1e-5 * values[-1]) ** -0.5) @ vectors.T
    expected = np.sum((root @ (other - source) @ root) ** 2) / (4 * 9)
    target = statistic.target(torch.from_numpy(source)[None])
    assert abs(statistic.loss(torch.from_numpy(other)[None], target).item() / expected - 1) < 1e-6
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: statistic.loss(statistic.features(x), target), image)
