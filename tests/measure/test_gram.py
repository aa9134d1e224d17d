from __future__ import annotations

import numpy as np
import pytest
import torch

from stimgen.measure.gram import gram_distances
from stimgen.networks.architectures import Architecture, Convolution, Pool
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.objective import analyse
from stimgen.texture.tensors import to_batch

NETWORK = Architecture(
    "small",
    (Convolution("conv1_1", 3, 5), Pool("pool1"), Convolution("conv2_1", 5, 7), Pool("pool2")),
    "none",
)
LAYERS = ["pool2", "conv1_1", "pool1"]  # not in the network's order: targets keep their own


@pytest.fixture(scope="module")
def extractor():
    generator = torch.Generator().manual_seed(8)
    shapes = [(5, 3, 3, 3), (7, 5, 3, 3)]
    return FeatureExtractor(
        architecture=NETWORK,
        pooling="average",
        kernels=tuple(torch.randn(shape, generator=generator) / 3 for shape in shapes),
        biases=tuple(torch.rand(shape[0], generator=generator) for shape in shapes),
        gain=torch.full((1, 3, 1, 1), 4.0),
        shift=torch.tensor([-1.0, -2.0, -3.0]).view(1, 3, 1, 1),
    )


def numpy_distances(extractor, image, source, layer):
    """Loss and relative distance in float64, position by position as the paper writes them."""

    def gram(pixels):
        planes = np.repeat(pixels[np.newaxis], 3, axis=0) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        batch = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float64)[np.newaxis])
        maps = extractor.to(dtype=torch.float64).features(batch, [layer])[layer][0].numpy()
        total = np.zeros((len(maps), len(maps)))
        for row in range(maps.shape[1]):
            for column in range(maps.shape[2]):
                total += np.outer(maps[:, row, column], maps[:, row, column])
        return total / (maps.shape[1] * maps.shape[2])

    difference, target = gram(image) - gram(source), gram(source)
    loss = np.sum(difference**2) / (4 * len(target) ** 2)
    return loss, np.sqrt(np.sum(difference**2) / np.sum(target**2))


@pytest.mark.parametrize("shape", [(14, 14), (12, 12, 3)], ids=["grey", "rgb"])
def test_distances_are_those_of_the_formulas_in_float64(extractor, shape):
    rng = np.random.default_rng(2)
    source = rng.random(shape, np.float32)
    near = np.clip(source + 0.05 * rng.standard_normal(shape, np.float32), 0, 1)
    far = rng.random(shape, np.float32) ** 3
    targets = analyse(extractor, to_batch([source], "cpu"), LAYERS)

    measured = gram_distances(extractor, [near, far], targets)

    assert [[distance.layer for distance in image] for image in measured] == [LAYERS, LAYERS]
    for image, distances in zip([near, far], measured, strict=True):
        for distance in distances:
            loss, relative = numpy_distances(extractor, image, source, distance.layer)
            assert distance.gram_loss == pytest.approx(loss, rel=1e-3)
            assert distance.gram_relative == pytest.approx(relative, rel=1e-3)


def test_the_source_is_at_distance_zero_from_itself(extractor):
    source = np.random.default_rng(3).random((16, 16), np.float32)
    targets = analyse(extractor, to_batch([source], "cpu"), LAYERS)

    (distances,) = gram_distances(extractor, [source], targets)

    assert [distance.gram_relative for distance in distances] == pytest.approx([0, 0, 0], abs=1e-6)


def test_measuring_keeps_no_graph_for_gradients(extractor):
    source = np.random.default_rng(4).random((8, 8), np.float32)
    targets = analyse(extractor, to_batch([source], "cpu"), ["pool1"])
    kernels = tuple(kernel.clone().requires_grad_() for kernel in extractor.kernels)
    learning = FeatureExtractor(
        NETWORK, "average", kernels, extractor.biases, extractor.gain, extractor.shift
    )

    (distances,) = gram_distances(learning, [source], targets)

    assert all(isinstance(distance.gram_loss, float) for distance in distances)
    assert all(kernel.grad is None for kernel in kernels)
