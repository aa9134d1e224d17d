"""A network of two convolutions, its weights, and a catalogue that publishes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool, PublishedWeights
from stimgen.networks.weights.formats import Convolutions

TINY = Architecture(
    "tiny",
    (Convolution("conv1_1", 3, 8), Pool("pool1"), Convolution("conv2_1", 8, 8), Pool("pool2")),
    "none",
    ("conv1_1", "pool1", "pool2"),
)
OTHER = Architecture("other", (Convolution("conv1_1", 3, 6), Pool("pool1")), "none", ("conv1_1",))
"""A network that the weights of TINY do not fit."""
REGISTER = "import fault_networks; fault_networks.register_tiny()"


def register_tiny() -> None:
    """Register the network TINY."""
    assert "vgg16" in NETWORKS
    NETWORKS._entries["tiny"] = lambda: TINY


def convolutions(architecture: Architecture = TINY, scale: float = 1.0) -> Convolutions:
    """Return random weights of a network."""
    rng = np.random.default_rng(5)
    shapes = [convolution.kernel_shape for convolution in architecture.convolutions]
    kernels = tuple(rng.standard_normal(shape).astype(np.float32) * np.float32(scale / 6) for shape in shapes)
    return Convolutions(kernels, tuple(np.zeros(len(kernel), np.float32) for kernel in kernels))


def write_pth(path: str | Path, scale: float = 1.0) -> None:
    """Write the weights of TINY as PyTorch does."""
    weights = convolutions(scale=scale)
    tensors = {}
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
        tensors[f"features.{number}.weight"] = torch.from_numpy(kernel)
        tensors[f"features.{number}.bias"] = torch.from_numpy(bias)
    torch.save(tensors, path)


def publish(url: str, sha256_prefix: str) -> None:
    """Register TINY with weights that the catalogue publishes."""
    assert "vgg16" in NETWORKS
    entry = PublishedWeights("imagenet", url, sha256_prefix, "torchvision", "CC BY", "Someone")
    NETWORKS._entries["tiny"] = lambda: replace(TINY, weights=(entry,))
