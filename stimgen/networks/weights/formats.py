"""Convolutions out of files of any format, mapped to a network's layers by their order and shape."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stimgen.networks.architectures import Architecture
from stimgen.networks.weights.layers import FileLayer
from stimgen.networks.weights.record import Convolutions, WeightsError

_READERS = {
    ".pth": ("torch_files", "read_pth"),
    ".pt": ("torch_files", "read_pth"),
    ".safetensors": ("torch_files", "read_safetensors"),
    ".onnx": ("onnx_files", "read_onnx"),
    ".h5": ("hdf5_files", "read_h5"),
    ".hdf5": ("hdf5_files", "read_h5"),
}
MAX_BYTES = 2**31
"""Largest weights file that is read; VGG-19, with its classifier, has 0.6 GB."""
SUFFIXES = tuple(_READERS)
"""Endings of the files that can be read."""


def read_convolutions(path: Path, architecture: Architecture) -> Convolutions:
    """Return the convolutions in a file, which is taken to be hostile until proven.

    The file's convolutions, in the order of its graph, state dict or layers (safetensors files keep no order:
    there, by name with numbers as numbers), must be those of `architecture` in number and shape. Other
    layers, such as a classifier, are ignored; a normalisation layer between the convolutions is not.

    Parameters
    ----------
    path
        PyTorch state dict (.pth, .pt), safetensors, ONNX, or HDF5 (.h5) file of Keras or Caffe.
    architecture
        Network that the file is for.

    Returns
    -------
    Convolutions
        In the channel order of the file.

    Raises
    ------
    WeightsError
        If the file is missing, unreadable, of unknown format, or not of this network.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.", "Check the path.")
    if path.suffix.lower() not in _READERS:
        known = f"Known endings: {', '.join(SUFFIXES)}."
        if path.suffix.lower() == ".caffemodel":
            known += " Save it as one of them in pycaffe: net.save_hdf5('FILE.caffemodel.h5')."
        raise WeightsError(f"{path} has an ending that no weights format has.", known)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(
            f"{path} has {size} bytes; weights files of up to {MAX_BYTES} are read.",
            "Save the convolutions alone.",
        )
    module, function = _READERS[path.suffix.lower()]
    reader: Callable[[Path], list[FileLayer]] = getattr(
        importlib.import_module(f"stimgen.networks.weights.{module}"), function
    )
    return weighted_terms(reader(path), architecture, path)


def weighted_terms(found: Sequence[FileLayer], architecture: Architecture, path: Path) -> Convolutions:
    """Return the convolutions among `found` as those of `architecture`, by order and shape.

    Raises
    ------
    WeightsError
        If number or shapes differ, a bias is missing, a number is not finite, or a normalisation layer lies
        between the convolutions.
    """
    cure = f"Use a file with the convolutions of {architecture.name}, from {architecture.layers[0]} on."
    last = max((index for index, layer in enumerate(found) if layer.kernels), default=-1)
    for layer in found[: last + 1]:
        if layer.is_normalisation:
            raise WeightsError(
                f"{path} has a normalisation layer, {layer.name}, between its convolutions; "
                f"{architecture.name} has none, and its features would be wrong.",
                cure,
            )
    pairs = [(layer, *pair) for layer in found for pair in layer.kernels_and_biases()]
    kernels, biases = [], []
    for expected, (layer, kernel, bias) in zip(architecture.convolutions, pairs, strict=False):
        if kernel.shape != expected.kernel_shape:
            raise WeightsError(
                f"{path} does not fit {architecture.name}: {expected.name} needs a kernel of shape "
                f"{expected.kernel_shape}, and {layer.name} in the file has {kernel.shape} "
                "(out channels, in channels, height, width).",
                cure,
            )
        if bias is None or bias.shape != (expected.out_channels,):
            shape = "none" if bias is None else str(bias.shape)
            raise WeightsError(
                f"{path} does not fit {architecture.name}: {expected.name} needs a bias of shape "
                f"{(expected.out_channels,)}, and {layer.name} in the file has {shape}.",
                cure,
            )
        kernels.append(_as_float32(kernel, layer.name, path))
        biases.append(_as_float32(bias, layer.name, path))
    if len(pairs) != len(architecture.convolutions):
        raise WeightsError(
            f"{path} does not fit {architecture.name}: expected {len(architecture.convolutions)} "
            f"convolutions, found {len(pairs)}.",
            cure,
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
