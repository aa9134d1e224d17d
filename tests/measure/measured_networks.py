"""A small network, and its Gram matrices by the paper's formula in NumPy."""

from __future__ import annotations

import numpy as np
import torch

from stimgen.networks.architectures import Architecture, Convolution, Pool
from stimgen.networks.extractor import FeatureExtractor

NETWORK = Architecture(
    "small",
    (Convolution("conv1_1", 3, 5), Pool("pool1"), Convolution("conv2_1", 5, 7), Pool("pool2")),
    "none",
    ("conv1_1", "pool1", "pool2"),
)
LAYERS = ["pool2", "conv1_1", "pool1"]  # not in the network's order: targets keep their own


def small_extractor(padding="mirrored"):
    generator = torch.Generator().manual_seed(8)
    shapes = [(5, 3, 3, 3), (7, 5, 3, 3)]
    return FeatureExtractor(
        architecture=NETWORK,
        pooling="average",
        kernels=tuple(torch.randn(shape, generator=generator) / 3 for shape in shapes),
        biases=tuple(torch.rand(shape[0], generator=generator) for shape in shapes),
        gain=torch.full((1, 3, 1, 1), 4.0),
        shift=torch.tensor([-1.0, -2.0, -3.0]).view(1, 3, 1, 1),
        padding=padding,
    )


def numpy_gram(extractor, pixels, layer, inside=None):
    """The Gram matrix in float64, position by position as the paper writes it.

    With a mask, a position counts by the mean of the mask in the block of pixels that its pools average.
    """
    planes = np.repeat(pixels[np.newaxis], 3, axis=0) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    batch = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float64)[np.newaxis])
    maps = extractor.to(dtype=torch.float64).features(batch, [layer])[layer][0].numpy()
    total, weight = np.zeros((len(maps), len(maps))), 0.0
    block = pixels.shape[0] // maps.shape[1]
    for row in range(maps.shape[1]):
        for column in range(maps.shape[2]):
            part = np.s_[row * block : (row + 1) * block, column * block : (column + 1) * block]
            share = 1.0 if inside is None else inside[part].mean()
            total += share * np.outer(maps[:, row, column], maps[:, row, column])
            weight += share
    return total / weight
