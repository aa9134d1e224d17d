"""Gram matrices of images as features on disk, computed once for all layers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from stimgen.atomic import TEMPORARY
from stimgen.bounded import read_file
from stimgen.decoding.dataset import Unusable, refuse_link
from stimgen.decoding.settings import MOST_BYTES, Advance, DecodeSettings, ImageSettings
from stimgen.errors import InputError, StimgenError
from stimgen.images.pixels import Image
from stimgen.images.sources import ImageSpec, SourceSpec, load_source
from stimgen.networks.architectures import Architecture
from stimgen.networks.extractor import FeatureExtractor
from stimgen.networks.weights import Weights
from stimgen.runs.store import StoreError, write_atomically
from stimgen.texture.objective import to_batch
from stimgen.texture.statistics.gram import gram_matrices

FEATURES_VERSION = 1
"""To be increased when the same settings give other features."""
LINE_BYTES = 65
"""A SHA-256 in hexadecimal digits and the end of the line."""

Features = NDArray[np.float32]


class Cost(BaseModel, frozen=True):
    """Number of images that were measured, and seconds that reading, network and writing took for them."""

    images: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)


@dataclass(frozen=True)
class FeatureFolder:
    """Features of images with one network, size and colour. Rows are only ever appended.

    ``LAYER.f32`` holds one row of little-endian float32 numbers per image, and ``images.txt`` in the same
    order the SHA-256 of each image file. A row counts when its line in ``images.txt``, which is written last,
    is whole. `sizes` are the numbers of features per layer, shallowest first.
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
        """Remove what a kill left behind; raise StimgenError if rows are missing or a file is a link."""
        count = len(self.images())
        lengths = {self.file(layer): 4 * count * size for layer, size in self.sizes.items()}
        for path, length in (lengths | {self.index: count * LINE_BYTES}).items():
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

    def cost(self) -> Cost:
        """Return what the images took so far; zero if nothing was measured or the file is damaged."""
        try:
            return Cost.model_validate_json(read_file(self.path / "cost.json", 1000), strict=True)
        except (OSError, ValidationError):
            return Cost()


def feature_folder(
    parent: Path, settings: DecodeSettings, weights: Weights, architecture: Architecture
) -> FeatureFolder:
    """Return the folder of these settings, named by the hash of all that features depend on but images."""
    layers = [layer for layer in architecture.layers if layer in settings.layers]
    channels = {layer: architecture.channels(layer) for layer in layers}
    sizes = {layer: count * (count + 1) // 2 for layer, count in channels.items()}
    depends_on = {
        "version": FEATURES_VERSION,
        "network": settings.network.name,
        "tensors_sha256": weights.tensors_sha256,
        "input": asdict(weights.convention),
        "pooling": settings.network.pooling,
        "padding": settings.network.padding,
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
    """Make a folder if it is missing, keep other commands out of it, and remove half-written files."""
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


def upper_triangle(grams: Tensor) -> Tensor:
    """Return the upper triangles of Gram matrices with their diagonals, off-diagonals times sqrt 2.

    With the factor sqrt 2 the Euclidean distance of two vectors is the Frobenius distance of their matrices,
    because an off-diagonal stands for two entries (Gatys, Ecker & Bethge 2015, section 4).
    Matrices have shape (batch, channel, channel), the result (batch, channel · (channel + 1) / 2).

    Examples
    --------
    >>> upper_triangle(torch.tensor([[[4.0, 1.0], [1.0, 9.0]]]))
    tensor([[4.0000, 1.4142, 9.0000]])
    """
    rows, columns = torch.triu_indices(grams.shape[1], grams.shape[2], device=grams.device)
    factors = torch.full((len(rows),), math.sqrt(2), dtype=grams.dtype, device=grams.device)
    factors[rows == columns] = 1
    return grams[:, rows, columns] * factors


def extract(
    extractor: FeatureExtractor,
    paths: Mapping[str, Path],
    folder: FeatureFolder,
    image: ImageSettings,
    batch_size: int,
    advance: Advance,
) -> Unusable:
    """Add the features of images, given by their SHA-256, to a folder; return images that became unusable.

    ``cost.json`` counts all batches but the first, which loads libraries.
    """
    unusable: Unusable = {}
    cost = folder.cost()
    started = time.perf_counter()
    for number, batch in enumerate(_read_ahead(paths, image, batch_size)):
        pixels = {sha256: read for sha256, read in batch.items() if not isinstance(read, InputError)}
        unusable |= {paths[name]: read for name, read in batch.items() if isinstance(read, InputError)}
        if pixels:
            with torch.inference_mode():
                stack = to_batch([*pixels.values()], extractor.device)
                grams = gram_matrices(extractor, stack, list(folder.sizes))
                features = {layer: upper_triangle(gram).cpu().numpy() for layer, gram in grams.items()}
            folder.append(features, [*pixels])
        now = time.perf_counter()
        if number > 0 and pixels:
            cost = Cost(images=cost.images + len(pixels), seconds=cost.seconds + now - started)
            write_atomically(folder.path / "cost.json", json.dumps(cost.model_dump()) + "\n")
        started = now
        advance(len(batch))
    return unusable


def _read_ahead(
    paths: Mapping[str, Path], image: ImageSettings, batch_size: int
) -> Iterator[dict[str, Image | InputError]]:
    """Yield batches of pixels. Threads read the next batch while the network works on one."""
    spec = ImageSpec(image.size_px, None, None, image.color)

    def read(sha256: str) -> Image | InputError:
        path = paths[sha256]
        try:
            source = load_source(SourceSpec(str(path), str(path), path, "centre"), spec, name="decode")
        except InputError as error:
            return error
        if source.sha256 != sha256:
            return InputError(f"{path} changed while stimgen was at work.", "Run the same command again.")
        return source.pixels

    hashes = list(paths)
    batches = [hashes[start : start + batch_size] for start in range(0, len(hashes), batch_size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead = pool.map(read, batches[0])
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            reading, ahead = ahead, pool.map(read, following)
            yield dict(zip(batch, reading, strict=True))


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
