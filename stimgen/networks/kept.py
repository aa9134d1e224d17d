"""What is measured with a network once, and kept in the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from stimgen.atomic import write_file
from stimgen.networks.weights.cache import cache_folder

Arrays: TypeAlias = Mapping[str, NDArray[np.float64]]


def kept(folder: str, of: object, device: torch.device, measure: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that `measure` returns, or those that it returned before.

    `of` is all that they depend on, with a `repr` that says it, beside the versions of stimgen and PyTorch
    and the processor or GPU `device`. Its SHA-256 is the name of the file, so that what is kept is the same
    to the last bit as what would be measured. A damaged file is replaced, and where none can be written,
    `measure` is called each time.
    """
    key = hashlib.sha256(repr((of, _arithmetic(device))).encode()).hexdigest()
    path = cache_folder() / folder / f"{key}.safetensors"
    with suppress(OSError, SafetensorError), safe_open(path, framework="np") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (file.metadata() or {}).get("sha256") == _sealed(found):
            return found
    measured = measure()
    content = save(dict(measured), metadata={"sha256": _sealed(measured)})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    return measured


def arrays_sha256(arrays: Iterable[Tensor | NDArray[np.generic]]) -> str:
    """Return the SHA-256 of numbers, with their types and shapes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype} {tuple(array.shape)}".encode())
        values = array.cpu().numpy() if isinstance(array, Tensor) else array
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def _sealed(arrays: Arrays) -> str:
    names = sorted(arrays)
    return hashlib.sha256(repr((names, arrays_sha256(arrays[name] for name in names))).encode()).hexdigest()


def _arithmetic(device: torch.device) -> tuple[object, ...]:
    """Return what the last bits of sums depend on."""
    versions = version("stimgen"), torch.__version__
    if device.type == "cuda":
        return (*versions, torch.cuda.get_device_name(device), torch.version.cuda)
    return (*versions, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
