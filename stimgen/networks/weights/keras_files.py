"""Layers out of Keras HDF5 files: whole models and weights of Keras 2, ``.weights.h5`` of Keras 3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stimgen.networks.weights.layers import FileLayer, group_by_layer, natural_order
from stimgen.networks.weights.record import WeightsError

if TYPE_CHECKING:
    import h5py


def read_h5(path: Path) -> list[FileLayer]:
    """Return the layers of a Keras file with kernels turned from HWIO to OIHW.

    Keras 2 lists its layers and their tensors in the attributes ``layer_names`` and ``weight_names``, at the
    top or below ``model_weights``. Keras 3 keeps the tensors of a layer as ``…/<layer>/vars/<number>``; there
    the order is that of the names, with numbers as numbers.

    Raises
    ------
    WeightsError
        If the file is damaged, has neither layout, or the ``h5py`` package is missing.
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
            listed = _keras2_names(top) if "layer_names" in top.attrs else _keras3_names(tensors)
            return group_by_layer((layer, _oihw(tensors[name])) for layer, name in listed)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a readable Keras file: {error}.",
            "If the file is cut off, get it again; or save the model's weights as FILE.weights.h5.",
        ) from None


def _stored_arrays(file: h5py.File, path: Path) -> dict[str, NDArray[Any]]:
    """Return the numbers stored in the file itself: no links, and no data in other files."""
    import h5py

    arrays: dict[str, NDArray[Any]] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise WeightsError(
                f"{path} keeps {name} in another file, which is not opened.", "Use a file that holds all."
            )
        if np.issubdtype(item.dtype, np.floating):
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


def _keras3_names(tensors: dict[str, NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """Yield layer and full dataset name of every tensor, ordered by name with numbers as numbers."""
    names = [n for n in tensors if re.search(r"/vars/\d+$", n) and not n.startswith("optimizer/")]
    if not names:
        raise ValueError("it has neither the attribute layer_names (Keras 2) nor <layer>/vars (Keras 3)")
    for name in sorted(names, key=natural_order):
        yield name.rpartition("/vars/")[0], name


def _oihw(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
