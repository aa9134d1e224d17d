"""Layers out of HDF5 files of Keras 2 and 3, of Caffe, and of converters from Caffe and PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stimgen.networks.weights.layers import FileLayer, group_by_layer, natural_order, refuse_too_many_numbers
from stimgen.networks.weights.record import WeightsError

if TYPE_CHECKING:
    import h5py

MOST_ITEMS, MOST_LEVELS = 100_000, 30
MOST_COMPRESSED, SMALL_BYTES = 200, 2**20
"""Tensors above SMALL_BYTES may be stored in 1 / MOST_COMPRESSED of their size. Weights hardly shrink."""


def read_h5(path: Path) -> list[FileLayer]:
    """Return the layers of an HDF5 file, kernels as (out channel, in channel, height, width).

    Keras 2 lists its layers and their tensors in attributes, at the top or below ``model_weights``. Other
    layouts are those of `_LAYOUTS`, whose layers are ordered by name, with numbers as numbers.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsError(
            f"{path} is an HDF5 file, and the package h5py that reads it is not installed.",
            "Install it: pip install h5py",
        ) from None
    try:
        with h5py.File(path, "r") as file:
            tensors = _stored_arrays(file, path)
            top = file.get("model_weights", file)
            if "layer_names" in top.attrs:
                return group_by_layer((layer, _oihw(tensors[name])) for layer, name in _keras2_names(top))
    except WeightsError:
        raise
    except Exception as error:  # damaged files make the library raise errors of almost any class
        raise WeightsError(
            f"{path} is not a readable HDF5 file: {error}.", "If the file is cut off, get it again."
        ) from None
    for pattern, arranged in _LAYOUTS:
        found = [match for name in sorted(tensors, key=natural_order) if (match := pattern.fullmatch(name))]
        if found:
            return group_by_layer((match["layer"], arranged(tensors[match[0]])) for match in found)
    raise WeightsError(
        f"{path} has no known layout: neither the attribute layer_names (Keras 2), nor <layer>/vars "
        "(Keras 3), data/<layer>/<number> (Caffe) or <layer>/weight.",
        "Save a Keras model's weights as FILE.weights.h5, or Caffe's with net.save_hdf5.",
    )


def _stored_arrays(file: h5py.File, path: Path) -> dict[str, NDArray[Any]]:
    """Return the numbers stored in the file itself, by name: no links, data in other files or optimisers."""
    import h5py

    arrays: dict[str, NDArray[Any]] = {}
    visited = numbers = 0

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal visited, numbers
        visited += 1
        if visited > MOST_ITEMS or name.count("/") > MOST_LEVELS:
            raise WeightsError(
                f"{path} has more than {MOST_ITEMS} items, or groups nested deeper than {MOST_LEVELS}.",
                "Save the convolutions alone.",
            )
        if not isinstance(item, h5py.Dataset) or name.startswith("optimizer"):
            return
        if item.external or item.is_virtual:
            raise WeightsError(
                f"{path} keeps {name} in another file, which is not opened.", "Use a file that holds all."
            )
        if np.issubdtype(item.dtype, np.floating):
            numbers += item.size or 0
            refuse_too_many_numbers(numbers, path)
            if item.nbytes > SMALL_BYTES + MOST_COMPRESSED * item.id.get_storage_size():
                raise WeightsError(
                    f"{path}: {name} claims {item.nbytes} bytes and is stored in "
                    f"{item.id.get_storage_size()}, too few for weights.",
                    "The file is damaged; get it again.",
                )
            arrays[name] = item[()]

    file.visititems(collect)
    return arrays


def _keras2_names(top: h5py.Group) -> Iterator[tuple[str, str]]:
    """Yield layer and full dataset name of every tensor, as the attributes list them."""
    prefix = top.name.strip("/")
    for layer in _texts(top.attrs["layer_names"]):
        for weight in _texts(top[layer].attrs["weight_names"]):
            # A model inside a model is one layer to its parent: its own layers are in the tensors' names.
            inner = weight.rpartition("/")[0]
            yield f"{layer}/{inner}".rstrip("/"), "/".join(filter(None, (prefix, layer, weight)))


def _oihw(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _oihw_of_caffe(array: NDArray[Any]) -> NDArray[Any]:
    """Return Caffe's array; older versions have a bias as (1, 1, 1, out), a classifier as (1, 1, out, in)."""
    if array.ndim == 4 and array.shape[:2] == (1, 1):
        return array.reshape(-1) if array.shape[2] == 1 else array[0, 0]
    return array


_LAYOUTS: tuple[tuple[re.Pattern[str], Callable[[NDArray[Any]], NDArray[Any]]], ...] = (
    (re.compile(r"(?!optimizer/)(?P<layer>.+)/vars/\d+"), _oihw),
    (re.compile(r"data/(?P<layer>.+)/\d+"), _oihw_of_caffe),
    (re.compile(r"(?P<layer>.+)/(weights?|bias)"), _oihw_of_caffe),
)
"""Names of tensors in Keras 3, Caffe and converters, and the functions that bring their arrays to OIHW."""


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
