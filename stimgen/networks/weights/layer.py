"""A layer of a weights file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Layer(NamedTuple):
    """A layer as a file has it.

    Kernels among `arrays` are (out channel, in channel, height, width). `geometry` is what the file says
    about a convolution beside its numbers, as `described`; None if it says nothing.
    """

    name: str
    arrays: list[Array]
    geometry: str | None = None


def described(
    strides: Iterable[int], pads: Iterable[int], dilations: Iterable[int] = (1,), groups: int = 1
) -> str:
    """Return the geometry of a convolution as a text, the same for the same geometry."""
    parts = {"stride": strides, "padding": pads, "dilation": dilations, "groups": (groups,)}
    texts = {name: sorted({int(value) for value in values}) for name, values in parts.items()}
    return ", ".join(f"{name} {' and '.join(map(str, values))}" for name, values in texts.items())
