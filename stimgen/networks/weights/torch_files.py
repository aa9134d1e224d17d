"""Layers out of PyTorch state dicts and safetensors files. Nothing in a file is ever executed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stimgen.networks.weights.layers import FileLayer, group_by_layer, natural_order
from stimgen.networks.weights.record import WeightsError

_WRAPPERS = ("state_dict", "model")


def read_pth(path: Path) -> list[FileLayer]:
    """Return the layers of a state dict in its order.

    Raises
    ------
    WeightsError
        If the file is damaged, or a pickle with anything but tensors and plain containers in it.
    """
    _refuse_damaged_zip(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # The unpickler meets arbitrary bytes: what it raises on them is not a closed list.
    except Exception as error:
        cause = str(error).strip().splitlines()
        raise WeightsError(
            f"{path} is not a readable PyTorch state dict: {cause[0] if cause else type(error).__name__} "
            "If there is Python code in the file, it was not run.",
            "If the file is cut off, get it again. If it holds a whole pickled model, save its state dict: "
            "torch.save(model.state_dict(), FILE).",
        ) from None
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a state dict.",
            "Save the state dict: torch.save(model.state_dict(), FILE).",
        )
    return _layers({str(name): value for name, value in content.items() if isinstance(value, Tensor)})


def _refuse_damaged_zip(path: Path) -> None:
    """Compare the checksums in the file with its content, which PyTorch does not do."""
    try:
        with ZipFile(path) as archive:
            damaged = archive.testzip()
    except (BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error):
        return  # of the format before zip files, or what the unpickler will say
    if damaged is not None:
        raise WeightsError(
            f"{path} is damaged: {damaged} in it is not what was saved (CRC-32).", "Get the file again."
        )


def read_safetensors(path: Path) -> list[FileLayer]:
    """Return the layers of a safetensors file, ordered by name with numbers as numbers.

    Raises
    ------
    WeightsError
        If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=natural_order)
            return _layers({name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file: {error}.", "The file is damaged; get it again."
        ) from None


def _layers(tensors: Mapping[str, Tensor]) -> list[FileLayer]:
    floating = {name: value.detach() for name, value in tensors.items() if value.is_floating_point()}
    # NumPy has no bfloat16, and every wider type must reach the same float32.
    return group_by_layer(
        (name.rpartition(".")[0], value.float().numpy()) for name, value in floating.items()
    )
