"""A layer as a weights file has it, before it is known which network it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stimgen.networks.weights.record import WeightsError

MAX_NUMBERS = 2**28
"""Most numbers that are read from one file; all of VGG-19, with its classifier, has 144 million."""


def refuse_too_many_numbers(count: int, path: Path) -> None:
    """Raise before memory is taken for more than `MAX_NUMBERS` numbers: a small file can claim many.

    Raises
    ------
    WeightsError
        If `count` exceeds it.
    """
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
    return [FileLayer(_shortened(name), tuple(arrays)) for name, arrays in layers.items()]


def _shortened(name: str, most: int = 100) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that takes the numbers in `name` as numbers, so that conv10 follows conv9."""
    parts = re.split("([0-9]+)", name)
    # By length and then by digits, which also orders numbers that are too long for int.
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[i]), digits[i]) if i % 2 else (-1, part) for i, part in enumerate(parts)]


@dataclass(frozen=True, eq=False)
class FileLayer:
    """The tensors of one layer in a file.

    Attributes
    ----------
    name
        Its name in the file, for messages.
    arrays
        Its tensors; kernels as (out channel, in channel, height, width).
    """

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
        """Return every kernel with its bias, or with None where the layer has not one bias per kernel."""
        biases = [array for array in self.arrays if array.ndim == 1]
        if len(biases) != len(self.kernels):
            return [(kernel, None) for kernel in self.kernels]
        return list(zip(self.kernels, biases, strict=True))
