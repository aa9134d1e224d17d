"""Weights in memory: tensors, the input they expect, their origin and their identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.networks.architectures import CONVENTIONS, NETWORKS, InputConvention

if TYPE_CHECKING:
    from torch import Tensor


class WeightsError(StimgenError):
    """Weights are missing, unreadable, altered, or not those of the network."""


def tensors_sha256(
    kernels: Sequence[Tensor | NDArray[np.float32]], biases: Sequence[Tensor | NDArray[np.float32]]
) -> str:
    """Return the identity of weights: the same for the same numbers, whatever file they came from.

    It is the hexadecimal SHA-256 over kernel, bias, kernel, bias, … as little-endian float32 in C order,
    shallowest first. Kernels are (out channel, in channel, height, width), with RGB input.
    """
    digest = hashlib.sha256()
    for kernel, bias in zip(kernels, biases, strict=True):
        for tensor in (kernel, bias):
            digest.update(np.ascontiguousarray(tensor, dtype="<f4").data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, eq=False)
class Convolutions:
    """The convolutions in a weights file, shallowest first, in the channel order of the file.

    Kernels are (out channel, in channel, height, width), biases (out channel,); `names` are the layers'.
    """

    kernels: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    names: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """`tensors_sha256` of these arrays, taken to be in RGB order."""
        return tensors_sha256(self.kernels, self.biases)

    def with_input_reversed(self) -> Convolutions:
        """Return the same convolutions for an input with its channels in reverse order (BGR to RGB)."""
        first, *rest = self.kernels
        return replace(self, kernels=(np.ascontiguousarray(first[:, ::-1]), *rest))

    def with_kernels_transposed(self) -> Convolutions:
        """Return the same convolutions with height and width of the kernels exchanged."""
        return replace(self, kernels=tuple(np.ascontiguousarray(k.swapaxes(2, 3)) for k in self.kernels))

    def weights(
        self, network: str, name: str, convention: InputConvention, origin: str, file_sha256: str
    ) -> Weights:
        """Return these convolutions ready for use; BGR kernels are put into RGB order."""
        ordered = self if convention.channels == "rgb" else self.with_input_reversed()
        kernels, biases = ordered.tensors()
        sha256 = ordered.sha256
        return Weights(
            network,
            name,
            kernels,
            biases,
            convention.in_rgb(),
            origin,
            file_sha256,
            sha256,
            layers=self.names,
        )

    def tensors(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return kernels and biases as tensors of PyTorch."""
        import torch

        return tuple(map(torch.from_numpy, self.kernels)), tuple(map(torch.from_numpy, self.biases))


@dataclass(frozen=True, eq=False)
class Weights:
    """The convolutions of one network, ready for use.

    `kernels` and `biases` are float32 tensors (out channel, in channel, height, width) and (out channel,),
    shallowest first, for RGB input in the given `convention`. `origin` says in words where they were found,
    and `file_sha256` is that of the file that they were first read from. If they are `normalised`, every
    filter has a mean activation of about 1 already, and they are used as they are. `layers` are the names of
    the layers in a file that they were just read from.
    """

    network: str
    name: str
    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    convention: InputConvention
    origin: str
    file_sha256: str
    tensors_sha256: str
    normalised: bool = False
    layers: tuple[str, ...] = ()


def random_weights(network: str, seed: int = 0) -> Weights:
    """Return weights of a network before training: kernels from a normal distribution, biases 0.

    The variance is 2 / fan-in (He et al. 2015, eq. 10), with fan-in input channels times kernel height times
    width. With ReLU it keeps the scale of the activations from layer to layer for an input with mean 0 and
    variance 1. NumPy's generator with `seed` draws the kernels shallowest first in float32, the same on every
    machine.

    References
    ----------
    He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification. ICCV. arXiv:1502.01852.
    """
    rng = np.random.default_rng(seed)
    kernels, biases = [], []
    for step in NETWORKS[network]().convolutions:
        spread = np.float32(np.sqrt(2 / (step.in_channels * step.kernel**2)))
        kernels.append(spread * rng.standard_normal(step.kernel_shape, dtype=np.float32))
        biases.append(np.zeros(step.out_channels, np.float32))
    convolutions = Convolutions(tuple(kernels), tuple(biases))
    convention, origin = CONVENTIONS["torchvision"], f"NumPy's generator with seed {seed}"
    return convolutions.weights(network, f"random:{seed}", convention, origin, convolutions.sha256)
