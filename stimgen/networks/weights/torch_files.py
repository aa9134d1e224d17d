"""Layers out of PyTorch state dicts and safetensors files. Nothing in a file is ever executed."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stimgen.networks.weights.layers import FileLayer, group_by_layer, natural_order, refuse_too_many_numbers
from stimgen.networks.weights.record import WeightsError

MOST_PICKLE_BYTES = 2**18
"""The part of a state dict beside its numbers takes some thousand bytes; more would take seconds to read."""

_SAVE_STATE_DICT = (
    "If the file is cut off, get it again. If it holds a whole pickled model, save its state dict: "
    "torch.save(model.state_dict(), FILE)."
)


def read_pth(path: Path) -> list[FileLayer]:
    """Return the layers of a state dict in its order; raise if there is anything but tensors in it."""
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        with _BoundedReader(path) as file:
            # A subclass of io.BufferedReader, which torch reads as it does any open file.
            content = torch.load(cast("io.BufferedReader", file), map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    # Damaged files make the unpickler raise errors of almost any class.
    except Exception as error:
        lines = str(error).strip().splitlines()
        cause = lines[0].partition(". ")[0].rstrip(".") if lines else type(error).__name__
        raise WeightsError(
            f"{path} is not a readable PyTorch state dict: {cause}. "
            "If there is Python code in the file, it was not run.",
            _SAVE_STATE_DICT,
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a state dict.",
            "Save the state dict: torch.save(model.state_dict(), FILE).",
        )
    return _layers({str(name): value for name, value in content.items() if isinstance(value, Tensor)}, path)


def read_safetensors(path: Path) -> list[FileLayer]:
    """Return the layers of a safetensors file, ordered by name with numbers as numbers."""
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=natural_order)
            return _layers({name: file.get_tensor(name) for name in names}, path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file: {error}.", "The file is damaged; get it again."
        ) from None


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
        if any("/code/" in entry.filename or entry.filename.endswith("constants.pkl") for entry in entries):
            raise WeightsError(f"{path} is a TorchScript program, which is not opened.", _SAVE_STATE_DICT)
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise WeightsError(
                f"{path} is compressed, and might fill the memory when it is unpacked.",
                "Save it again with torch.save, which does not compress.",
            )
        if any(e.file_size > MOST_PICKLE_BYTES for e in entries if e.filename.endswith("data.pkl")):
            raise WeightsError(f"{path} has too much in it beside numbers.", _SAVE_STATE_DICT)
        damaged = None
        # PyTorch does not compare checksums; where this fails, its own message follows.
        with contextlib.suppress(zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error):
            damaged = archive.testzip()
        if damaged is not None:
            raise WeightsError(
                f"{path} is damaged: {damaged} in it is not what was saved (CRC-32).", "Get the file again."
            )


def _layers(tensors: Mapping[str, Tensor], path: Path) -> list[FileLayer]:
    floating = {name: value.detach() for name, value in tensors.items() if value.is_floating_point()}
    refuse_too_many_numbers(sum(value.numel() for value in floating.values()), path)
    try:
        # NumPy has no bfloat16, and every wider type must reach the same float32.
        arrays = [(name, value.float().numpy()) for name, value in floating.items()]
    except (RuntimeError, TypeError):  # 4-bit floats, sparse tensors, or tensors without numbers ("meta")
        raise WeightsError(
            f"{path} holds tensors of a kind that is not read.",
            "Save them as dense tensors of 16-, 32- or 64-bit floats.",
        ) from None
    return group_by_layer((name.rpartition(".")[0], array) for name, array in arrays)
