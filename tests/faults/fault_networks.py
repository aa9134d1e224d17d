"""A network of two convolutions, its weights, and a catalogue in which they are published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool, PublishedWeights
from stimgen.networks.catalogue import CONVENTIONS

TINY = Architecture(
    "tiny",
    (Convolution("conv1_1", 3, 8), Pool("pool1"), Convolution("conv2_1", 8, 8), Pool("pool2")),
    "none",
    ("conv1_1", "pool1", "pool2"),
)
OTHER = Architecture("other", (Convolution("conv1_1", 3, 6), Pool("pool1")), "none", ("conv1_1",))
"""A network that the weights of the other do not fit."""


def register_tiny() -> None:
    """Make the network known."""
    assert "vgg16" in NETWORKS
    NETWORKS._entries["tiny"] = lambda: TINY


def tensors(scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Return its random weights."""
    rng = np.random.default_rng(7)
    found = {}
    for number, convolution in enumerate(TINY.convolutions):
        kernel = rng.standard_normal(convolution.kernel_shape).astype(np.float32) * scale / 6
        found[f"features.{number}.weight"] = torch.from_numpy(kernel)
        found[f"features.{number}.bias"] = torch.zeros(len(kernel))
    return found


def write_pth(path: str | Path, scale: float = 1.0) -> None:
    """Write them as PyTorch does."""
    torch.save(tensors(scale), path)


def publish(url: str, sha256_prefix: str) -> None:
    """Let the catalogue say that they are published."""
    assert "vgg16" in NETWORKS
    entry = PublishedWeights("imagenet", url, sha256_prefix, "torchvision", "CC BY", "Someone")
    NETWORKS._entries["tiny"] = lambda: replace(TINY, weights=(entry,))


def recognise_all() -> None:
    """Let every file be one whose input convention is known."""
    from stimgen.networks.weights import formats

    formats._named_convention = lambda *given, **options: CONVENTIONS["torchvision"]
