"""Layers out of weights files: PyTorch, safetensors, ONNX, HDF5. Nothing in a file is ever executed."""

from __future__ import annotations

import importlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]
Layer = tuple[str, list[Array]]
"""Name of a layer in a file, and its tensors; kernels are (out channel, in channel, height, width)."""

MAX_NUMBERS = 2**28
"""Most numbers that are read from one file; all of VGG-19, with its classifier, has 144 million."""
LONGEST_NAME = 100
MOST_PICKLE_BYTES = 2**18
"""The part of a state dict beside its numbers takes some thousand bytes; more would take seconds to read."""
MOST_ITEMS, MOST_LEVELS = 100_000, 30
MOST_COMPRESSED, SMALL_BYTES = 200, 2**20
"""Tensors above SMALL_BYTES may be stored in 1 / MOST_COMPRESSED of their size. Weights hardly shrink."""

DAMAGED = "The file is damaged; get it again."
CONVOLUTIONS_ALONE = "Save the convolutions alone."
SAVE_STATE_DICT = (
    "Get the file again if it is cut off or damaged. If it holds a whole pickled model or other Python code, "
    "which was not run, save the state dict, uncompressed: torch.save(model.state_dict(), FILE)."
)


class WeightsError(StimgenError):
    """Weights are missing, unreadable, altered, or not those of the network."""


def read_layers(path: Path) -> list[Layer]:
    """Return the layers of a file, in the order of its graph, state dict or lists, or else by name.

    In an order by name, numbers in a name count as numbers.
    """
    kind, package, read, cure = READERS[path.suffix.lower()]
    try:
        importlib.import_module(package)
    except ImportError:
        raise WeightsError(
            f"{path} needs the package {package} that reads it, which is not installed.",
            f"Install it: pip install {package}",
        ) from None
    try:
        return [(name[:LONGEST_NAME], arrays) for name, arrays in read(path)]
    except WeightsError:
        raise
    except Exception as error:  # damaged files make the libraries raise errors of almost any class
        cause = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__
        raise WeightsError(f"{path} is not a readable {kind}: {cause}.", cure) from None


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that takes the numbers in `name` as numbers, so that conv10 follows conv9."""
    parts = re.split("([0-9]+)", name)
    # By length and then by digits, which also orders numbers that are too long for int.
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[i]), digits[i]) if i % 2 else (-1, part) for i, part in enumerate(parts)]


def _by_layer(tensors: Iterable[tuple[str, Array]]) -> list[Layer]:
    """Return layers in order of first appearance from pairs (layer name, array)."""
    layers: dict[str, list[Array]] = {}
    for layer, array in tensors:
        layers.setdefault(layer, []).append(array)
    return list(layers.items())


def _refuse_too_many_numbers(count: int, path: Path) -> None:
    """Raise `WeightsError` before more than `MAX_NUMBERS` numbers are read: a small file can claim many."""
    if count > MAX_NUMBERS:
        raise WeightsError(
            f"{path} claims to hold {count} numbers or more; stimgen reads at most {MAX_NUMBERS}.",
            CONVOLUTIONS_ALONE,
        )


def _read_pth(path: Path) -> list[Layer]:
    """Return the layers of a state dict in its order."""
    import torch

    if zipfile.is_zipfile(path):
        _check_archive(path)
    with _BoundedReader(path) as file:
        # A subclass of io.BufferedReader, which torch reads as it does any open file.
        content = torch.load(cast("io.BufferedReader", file), map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict.", SAVE_STATE_DICT)
    return _torch_layers(content, path)


def _read_safetensors(path: Path) -> list[Layer]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = sorted(file.keys(), key=natural_order)
        return _torch_layers({name: file.get_tensor(name) for name in names}, path)


def _torch_layers(content: Mapping[Any, Any], path: Path) -> list[Layer]:
    from torch import Tensor

    tensors = {
        str(name): value.detach()
        for name, value in content.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    _refuse_too_many_numbers(sum(value.numel() for value in tensors.values()), path)
    # NumPy has no bfloat16, and every wider type must reach the same float32.
    return _by_layer((name.rpartition(".")[0], value.float().numpy()) for name, value in tensors.items())


class _BoundedReader(io.BufferedReader):
    """A file whose unpickling ends: the unpickler reads it in small steps, and numbers in a single one."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._steps = MOST_PICKLE_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().readline(size)

    def _count(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise ValueError("there is too much in it beside numbers")


def _check_archive(path: Path) -> None:
    """Raise unless a zip file is as torch.save writes it: intact, not compressed, and with a small pickle."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        packed = packed or sum(entry.file_size for entry in entries) > path.stat().st_size
        damaged = problem = None
        if any("/code/" in entry.filename or entry.filename.endswith("constants.pkl") for entry in entries):
            problem = "is a TorchScript program, which is not opened"
        elif packed:
            problem = "is compressed, and might fill the memory when it is unpacked"
        elif any(e.file_size > MOST_PICKLE_BYTES for e in entries if e.filename.endswith("data.pkl")):
            problem = "has too much in it beside numbers"
        else:
            # PyTorch does not compare checksums; where this fails, its own message follows.
            with suppress(zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error):
                damaged = archive.testzip()
        if damaged is not None:
            problem = f"is damaged: {damaged} in it is not what was saved (CRC-32)"
        if problem is not None:
            raise WeightsError(f"{path} {problem}.", SAVE_STATE_DICT)


def _read_onnx(path: Path) -> list[Layer]:
    """Return convolutions and normalisations in the order of the graph, which ONNX keeps topological."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    layers: list[Layer] = []
    for node in graph.node:
        if node.op_type not in ("Conv", "BatchNormalization"):
            continue
        layer, names = node.name or node.op_type, [name for name in node.input[1:] if name]
        external = onnx.TensorProto.EXTERNAL
        if any(name not in stored or stored[name].data_location == external for name in names):
            raise WeightsError(
                f"{path}: the weights of {layer} are computed, or in another file, which is not opened.",
                "Export the model with constants folded, and save it in one file: onnx.save(model, FILE).",
            )
        layers.append((layer, [onnx.numpy_helper.to_array(stored[name]) for name in names]))
    return layers


def _read_h5(path: Path) -> list[Layer]:
    """Return the layers of an HDF5 file.

    Keras 2 lists its layers and their tensors in attributes, at the top or below ``model_weights``. Other
    layouts are those of `_LAYOUTS`, whose layers are ordered by name.
    """
    import h5py

    with h5py.File(path, "r") as file:
        tensors = _stored_arrays(file, path)
        top = file.get("model_weights", file)
        if "layer_names" in top.attrs:
            return _by_layer((layer, _oihw(tensors[name])) for layer, name in _keras2_names(top))
    for pattern, arranged in _LAYOUTS:
        found = [match for name in sorted(tensors, key=natural_order) if (match := pattern.fullmatch(name))]
        if found:
            return _by_layer((match["layer"], arranged(tensors[match[0]])) for match in found)
    raise WeightsError(
        f"{path} has no known layout: neither the attribute layer_names (Keras 2), nor <layer>/vars "
        "(Keras 3), data/<layer>/<number> (Caffe) or <layer>/weight.",
        "Save a Keras model's weights as FILE.weights.h5, or Caffe's with net.save_hdf5.",
    )


def _stored_arrays(file: h5py.File, path: Path) -> dict[str, Array]:
    """Return the numbers stored in the file itself, by name: no links, data in other files or optimisers."""
    import h5py

    arrays: dict[str, Array] = {}
    visited = numbers = 0

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal visited, numbers
        visited += 1
        if visited > MOST_ITEMS or name.count("/") > MOST_LEVELS:
            raise WeightsError(
                f"{path} has more than {MOST_ITEMS} items, or groups nested deeper than {MOST_LEVELS}.",
                CONVOLUTIONS_ALONE,
            )
        if not isinstance(item, h5py.Dataset) or name.startswith("optimizer"):
            return
        if item.external or item.is_virtual:
            raise WeightsError(
                f"{path} keeps {name} in another file, which is not opened.", "Use a file that holds all."
            )
        if np.issubdtype(item.dtype, np.floating):
            numbers += item.size or 0
            _refuse_too_many_numbers(numbers, path)
            stored = item.id.get_storage_size()
            if item.nbytes > SMALL_BYTES + MOST_COMPRESSED * stored:
                raise WeightsError(
                    f"{path}: {name} claims {item.nbytes} bytes and has {stored}, too few for weights.",
                    DAMAGED,
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


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _oihw(array: Array) -> Array:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _oihw_of_caffe(array: Array) -> Array:
    """Return Caffe's array; older versions have a bias as (1, 1, 1, out), a classifier as (1, 1, out, in)."""
    if array.ndim == 4 and array.shape[:2] == (1, 1):
        return array.reshape(-1) if array.shape[2] == 1 else array[0, 0]
    return array


_LAYOUTS: tuple[tuple[re.Pattern[str], Callable[[Array], Array]], ...] = (
    (re.compile(r"(?!optimizer/)(?P<layer>.+)/vars/\d+"), _oihw),
    (re.compile(r"data/(?P<layer>.+)/\d+"), _oihw_of_caffe),
    (re.compile(r"(?P<layer>.+)/(weights?|bias)"), _oihw_of_caffe),
)
"""Names of tensors in Keras 3, Caffe and converters, and the functions that bring their arrays to OIHW."""

_STATE_DICT = ("PyTorch state dict", "torch", _read_pth, SAVE_STATE_DICT)
_HDF5 = ("HDF5 file", "h5py", _read_h5, "If the file is cut off, get it again.")
READERS: dict[str, tuple[str, str, Callable[[Path], list[Layer]], str]] = {
    ".pth": _STATE_DICT,
    ".pt": _STATE_DICT,
    ".safetensors": ("safetensors file", "safetensors", _read_safetensors, DAMAGED),
    ".onnx": ("ONNX file", "onnx", _read_onnx, DAMAGED),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}
"""What a file with an ending is, the package and function that read it, and what to do if it is damaged."""
