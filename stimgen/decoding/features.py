"""Features on disk: a file of float32 rows per layer, and the list of the images that the rows belong to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from stimgen.atomic import TEMPORARY
from stimgen.bounded import read_file
from stimgen.decoding.dataset import refuse_link
from stimgen.decoding.settings import DecodeSettings
from stimgen.errors import StimgenError
from stimgen.networks.architectures import Architecture
from stimgen.networks.weights import Weights
from stimgen.runs.store import StoreError, write_atomically

FEATURES_VERSION = 1
"""Raised when the same settings give other features."""
LINE_BYTES = 65
"""A SHA-256 in hexadecimal digits and the end of the line."""
MOST_BYTES = 2**31
"""Largest list of images, about thirty million images."""

Features = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureFolder:
    """Features of images with one network, size and colour. Rows are only ever appended.

    ``LAYER.f32`` holds one row of little-endian float32 numbers per image, and ``images.txt`` in the same order
    the SHA-256 of each image file. A row counts when its line in ``images.txt``, which is written last, is
    whole. So a kill loses only what was not finished.

    Attributes
    ----------
    path
        The folder; its name is the start of the SHA-256 of the settings.
    sizes
        Number of features per layer, shallowest first.
    """

    path: Path
    sizes: Mapping[str, int]

    @property
    def index(self) -> Path:
        """The list of images."""
        return self.path / "images.txt"

    def file(self, layer: str) -> Path:
        """Return the file with a layer's rows."""
        return self.path / f"{layer}.f32"

    def images(self) -> list[str]:
        """Return the SHA-256 of each row's image. Raises StimgenError if the list is damaged."""
        try:
            content = read_file(self.index, MOST_BYTES)
        except FileNotFoundError:
            return []
        lines = content[: len(content) // LINE_BYTES * LINE_BYTES].decode("ascii", errors="replace").split()
        if not all(re.fullmatch("[0-9a-f]{64}", line) for line in lines):
            raise StimgenError(f"{self.index} is damaged.", f"Remove the folder {self.path} and run again.")
        return lines

    def repair(self) -> None:
        """Remove what a kill left behind: rows that are not in the list, and half a line.

        Raises
        ------
        StimgenError
            If rows of the list are missing, or a file is a symbolic link.
        """
        count = len(self.images())
        files = {self.file(layer): 4 * count * size for layer, size in self.sizes.items()}
        for path, length in (files | {self.index: count * LINE_BYTES}).items():
            refuse_link(path)
            path.touch()
            if path.stat().st_size < length:
                raise StimgenError(
                    f"{path} is shorter than {self.index.name} says.",
                    f"It was damaged from outside. Remove the folder {self.path} and run again.",
                )
            os.truncate(path, length)

    def append(self, features: Mapping[str, Features], sha256: list[str]) -> None:
        """Add rows: per layer an array (images, features), and the SHA-256 of each image file."""
        for layer in self.sizes:
            _append(self.file(layer), np.ascontiguousarray(features[layer], dtype="<f4").tobytes())
        _append(self.index, "".join(f"{digest}\n" for digest in sha256).encode("ascii"))

    def open(self, layer: str) -> Features:
        """Return a layer's rows, shape (images, features), read from disk as they are used."""
        shape = (len(self.images()), self.sizes[layer])
        return np.memmap(self.file(layer), dtype="<f4", mode="r", shape=shape)


def feature_folder(
    parent: Path, settings: DecodeSettings, weights: Weights, architecture: Architecture
) -> FeatureFolder:
    """Return the folder for the features of these settings, made if it is missing.

    Its name depends on everything that features depend on except the images, so that features of different
    settings are never mixed.
    """
    channels = {
        layer: architecture.channels(layer) for layer in architecture.layers if layer in settings.layers
    }
    sizes = {layer: count * (count + 1) // 2 for layer, count in channels.items()}
    depends_on = {
        "version": FEATURES_VERSION,
        "network": settings.network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": asdict(weights.convention),
        "pooling": settings.network.pooling,
        "normalise": settings.network.normalise,
        "weights_normalised": weights.normalised,
        "size_px": settings.image.size_px,
        "color": settings.image.color,
        "layers": sizes,
    }
    text = json.dumps(depends_on, indent=1, sort_keys=True)
    folder = FeatureFolder(parent / hashlib.sha256(text.encode()).hexdigest()[:16], sizes)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.path / "settings.json", text + "\n")
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, keep other commands out of it, and remove half-written files.

    Raises
    ------
    StimgenError
        If another command is at work there.
    StoreError
        If a file cannot be written or read while the folder is locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            for leftover in (*folder.glob(f"{TEMPORARY}*"), *folder.glob(f"*/{TEMPORARY}*")):
                leftover.unlink()
            yield
    except Timeout:
        raise StimgenError(
            f"Another stimgen decode is at work in {folder}.",
            "Wait until it has finished, or choose other folders with --out and --features.",
        ) from None
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder} cannot be written: {error.strerror}.",
            "Free the disk or mend the folder, then run again: what was finished is kept.",
        ) from error


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
