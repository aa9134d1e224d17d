"""What weights are: tensors, the input they expect, where they come from, and their identity."""

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
from stimgen.networks.catalogue import InputConvention

if TYPE_CHECKING:
    from torch import Tensor


def tensors_sha256(
    kernels: Sequence[Tensor | NDArray[np.float32]], biases: Sequence[Tensor | NDArray[np.float32]]
) -> str:
    """Return the identity of weights: the same for the same numbers, whatever file they came in.

    Parameters
    ----------
    kernels
        (out channel, in channel, height, width) per convolution, shallowest first; the input channels of
        the first one in RGB order.
    biases
        (out channel,) per convolution.

    Returns
    -------
    str
        Hexadecimal SHA-256 over kernel, bias, kernel, bias, … as little-endian float32 in C order.
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


class WeightsError(StimgenError):
    """Weights are missing, unreadable, altered, or not those of the network."""


@dataclass(frozen=True, eq=False)
class Convolutions:
    """The convolutions of a network as arrays, shallowest first.

    Attributes
    ----------
    kernels
        float32 (out channel, in channel, height, width) each.
    biases
        float32 (out channel,) each.
    names
        Names of their layers in the file that they come from, if it is known.
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


@dataclass(frozen=True, eq=False)
class Weights:
    """The convolutions of one network, ready for use, and where they come from.

    Attributes
    ----------
    network
        Name of the network.
    name
        Name of the weights, as in a manifest.
    kernels
        float32 tensors (out channel, in channel, height, width), shallowest first; RGB input.
    biases
        float32 tensors (out channel,).
    convention
        The input they expect, with RGB channels.
    origin
        Where they were found, for people: a cache file, a package and its version, a file, an address.
    file_sha256
        SHA-256 of the file that they were first read from (downloaded, packaged or imported).
    tensors_sha256
        Identity of the tensors; equal for the same weights from different files.
    normalised
        Whether every filter has a mean activation of about 1 already
        (`stimgen.networks.weights.normalised`); such weights are used as they are.
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


def weights_of(
    convolutions: Convolutions,
    *,
    network: str,
    name: str,
    convention: InputConvention,
    origin: str,
    file_sha256: str,
    normalised: bool = False,
) -> Weights:
    """Return `convolutions` as weights; a BGR `convention` puts the first kernel into RGB order."""
    import torch

    if convention.channels == "bgr":
        convolutions = convolutions.with_input_reversed()
    return Weights(
        network=network,
        name=name,
        kernels=tuple(torch.from_numpy(kernel) for kernel in convolutions.kernels),
        biases=tuple(torch.from_numpy(bias) for bias in convolutions.biases),
        convention=convention.in_rgb(),
        origin=origin,
        file_sha256=file_sha256,
        tensors_sha256=convolutions.sha256,
        normalised=normalised,
    )
