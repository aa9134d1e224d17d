"""Layers of a weights file of any format, mapped to the convolutions of a network by order and shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.networks.architectures import Architecture
from stimgen.networks.weights.record import Convolutions, WeightsError

MAX_NUMBERS = 2**28
"""Most numbers that are read from one file; all of VGG-19, with its classifier, has 144 million."""
LONGEST_NAME = 100


@dataclass(frozen=True, eq=False)
class FileLayer:
    """The tensors of one layer in a file, with its name there; kernels as (out, in, height, width)."""

    name: str
    arrays: tuple[NDArray[Any], ...]

    @property
    def kernels(self) -> tuple[NDArray[Any], ...]:
        """The kernels of two-dimensional convolutions."""
        return tuple(array for array in self.arrays if array.ndim == 4)

    @property
    def is_normalisation(self) -> bool:
        """Whether it scales and shifts channels: several vectors and no matrix or kernel."""
        return sum(array.ndim == 1 for array in self.arrays) > 1 and all(a.ndim < 2 for a in self.arrays)

    def kernels_and_biases(self) -> list[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Return every kernel with its bias, or with None if the layer has not one bias per kernel."""
        biases = [array for array in self.arrays if array.ndim == 1]
        if len(biases) != len(self.kernels):
            return [(kernel, None) for kernel in self.kernels]
        return list(zip(self.kernels, biases, strict=True))


def refuse_too_many_numbers(count: int, path: Path) -> None:
    """Raise `WeightsError` before more than `MAX_NUMBERS` numbers are read: a small file can claim many."""
    if count > MAX_NUMBERS:
        raise WeightsError(
            f"{path} claims to hold {count} numbers or more; stimgen reads at most {MAX_NUMBERS}.",
            "Save the convolutions alone.",
        )


def group_by_layer(tensors: Iterable[tuple[str, NDArray[Any]]]) -> list[FileLayer]:
    """Return layers in order of first appearance from pairs (layer name, array)."""
    layers: dict[str, list[NDArray[Any]]] = {}
    for layer, array in tensors:
        layers.setdefault(layer, []).append(array)
    return [
        FileLayer(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…", tuple(arrays))
        for name, arrays in layers.items()
    ]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that takes the numbers in `name` as numbers, so that conv10 follows conv9."""
    parts = re.split("([0-9]+)", name)
    # By length and then by digits, which also orders numbers that are too long for int.
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[i]), digits[i]) if i % 2 else (-1, part) for i, part in enumerate(parts)]


def match_layers(found: Sequence[FileLayer], architecture: Architecture, path: Path) -> Convolutions:
    """Return the convolutions among `found`, which must be those of `architecture` by order and shape."""
    network = architecture.name
    hint = f"Use a file with the convolutions of {network}, from {architecture.layers[0]} on."
    last = max((index for index, layer in enumerate(found) if layer.kernels), default=-1)
    for layer in found[: last + 1]:
        if layer.is_normalisation:
            raise WeightsError(
                f"{path} has a normalisation layer, {layer.name}, between its convolutions; "
                f"{network} has none, and its features would be wrong.",
                hint,
            )
    pairs = [(layer, *pair) for layer in found for pair in layer.kernels_and_biases()]
    kernels, biases = [], []
    for expected, (layer, kernel, bias) in zip(architecture.convolutions, pairs, strict=False):
        misfit = f"{path} does not fit {network}: {expected.name} needs a"
        if kernel.shape != expected.kernel_shape:
            raise WeightsError(
                f"{misfit} kernel of shape {expected.kernel_shape}, and {layer.name} in the file has "
                f"{kernel.shape} (out channels, in channels, height, width).",
                hint,
            )
        if bias is None or bias.shape != (expected.out_channels,):
            shape = "none" if bias is None else str(bias.shape)
            raise WeightsError(
                f"{misfit} bias of shape {(expected.out_channels,)}, and {layer.name} in the file has "
                f"{shape}.",
                hint,
            )
        kernels.append(_as_float32(kernel, layer.name, path))
        biases.append(_as_float32(bias, layer.name, path))
    if len(pairs) != len(architecture.convolutions):
        raise WeightsError(
            f"{path} does not fit {network}: expected {len(architecture.convolutions)} convolutions, "
            f"found {len(pairs)}.",
            hint,
        )
    return Convolutions(tuple(kernels), tuple(biases), tuple(layer.name for layer, _, _ in pairs))


def _as_float32(array: NDArray[Any], layer: str, path: Path) -> NDArray[np.float32]:
    """Return a fresh, contiguous float32 copy of a tensor from a file."""
    if not np.issubdtype(array.dtype, np.floating):
        raise WeightsError(
            f"{path}: {layer} holds {array.dtype} numbers.", "Use a file with floating-point weights."
        )
    copy = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(copy).all():
        raise WeightsError(
            f"{path}: {layer} holds numbers that are not finite.", "The file is damaged; get it again."
        )
    return copy
