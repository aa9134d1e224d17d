"""Features on disk: one file of float32 rows per layer, and the list of images that the rows belong to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from stimgen.atomic import TEMPORARY
from stimgen.bounded import read_file
from stimgen.errors import StimgenError
from stimgen.runs.store import StoreError, write_atomically

LINE_BYTES = 65
"""A SHA-256 in hexadecimal digits and the end of the line."""
MOST_BYTES = 2**31
"""Largest list of images; thirty million images take as much."""
_SHA256 = re.compile("[0-9a-f]{64}")

Features = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureFolder:
    """Features of images with one network, one size and colour: rows are only ever appended.

    ``LAYER.f32`` holds one row of little-endian float32 numbers per image, ``images.txt`` in the same order
    the SHA-256 of each image's file, and ``settings.json`` what the features depend on. A row counts when its
    line in ``images.txt`` is whole, which is written last. So a kill loses what was not finished and nothing
    else, and what images are asked for may change: rows are found by the images' SHA-256.

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
        """Return the SHA-256 of each row's image; a line that was cut off does not count.

        Raises
        ------
        StimgenError
            If it is no such list.
        """
        try:
            content = read_file(self.index, MOST_BYTES)
        except FileNotFoundError:
            return []
        lines = content[: len(content) // LINE_BYTES * LINE_BYTES].decode("ascii", errors="replace").split()
        if any(not _SHA256.fullmatch(line) for line in lines):
            raise StimgenError(f"{self.index} is damaged.", f"Remove the folder {self.path} and run again.")
        return lines

    def repair(self) -> None:
        """Remove what a kill left behind: rows that are in no list, and half a line.

        Raises
        ------
        StimgenError
            If rows are missing that the list has, or a file is a link.
        StoreError
            If the folder cannot be written.
        """
        count = len(self.images())
        files = [(self.index, count * LINE_BYTES)]
        files += [(self.file(layer), 4 * count * size) for layer, size in self.sizes.items()]
        with writing(self.path):
            for path, wanted in files:
                refuse_link(path)
                path.touch()
                if path.stat().st_size < wanted:
                    raise StimgenError(
                        f"{path} is shorter than {self.index.name} says.",
                        f"It was damaged from outside. Remove the folder {self.path} and run again.",
                    )
                os.truncate(path, wanted)

    def append(self, features: Mapping[str, Features], sha256: list[str]) -> None:
        """Add rows, first the numbers and then the lines that make them count.

        Parameters
        ----------
        features
            Per layer an array (images, features of the layer).
        sha256
            Of the images' files.

        Raises
        ------
        StoreError
            If the disk is full, or the folder cannot be written.
        """
        with writing(self.path):
            for layer in self.sizes:
                _append(self.file(layer), np.ascontiguousarray(features[layer], dtype="<f4").tobytes())
            _append(self.index, "".join(f"{digest}\n" for digest in sha256).encode("ascii"))

    def open(self, layer: str) -> Features:
        """Return a layer's rows (images, features), read from disk as they are used."""
        shape = (len(self.images()), self.sizes[layer])
        return np.memmap(self.file(layer), dtype="<f4", mode="r", shape=shape)


def feature_folder(parent: Path, settings: Mapping[str, Any], sizes: Mapping[str, int]) -> FeatureFolder:
    """Return the folder for features that depend on `settings`, made if it is not there.

    Other settings have another folder, so that features are never mixed or used for what they are not.

    Parameters
    ----------
    parent
        Where the folders of all settings are.
    settings
        All that features depend on but the images, as JSON can hold it.
    sizes
        Number of features per layer.

    Raises
    ------
    StoreError
        If it cannot be made.
    """
    text = json.dumps(settings, indent=1, sort_keys=True)
    folder = FeatureFolder(parent / hashlib.sha256(text.encode()).hexdigest()[:16], sizes)
    with writing(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.path / "settings.json", text + "\n")
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder, which is made if it is not there.

    What a killed command was writing is removed: while the lock is held, nobody else writes.

    Raises
    ------
    StimgenError
        If another command is at work there.
    StoreError
        If the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StimgenError(
                f"Another stimgen decode is at work in {folder}.",
                "Wait until it has finished, or choose other folders with --out and --features.",
            ) from None
    try:
        with writing(folder):
            for leftover in (*folder.glob(f"{TEMPORARY}*"), *folder.glob(f"*/{TEMPORARY}*")):
                leftover.unlink()
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's error into one with a cure."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.",
            "Free the disk or mend the folder, then run again: what was finished is kept.",
        ) from error


def refuse_link(path: Path) -> None:
    """Raise if a file that is added to is a symbolic link, which leads out of its folder.

    Raises
    ------
    StimgenError
        If it is one.
    """
    if path.is_symlink():
        raise StimgenError(
            f"{path} is a symbolic link, and is not written to.", "Remove it, or link its whole folder."
        )


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
