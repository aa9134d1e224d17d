"""Gram matrices of images as features, computed batch by batch and once for all layers."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from stimgen.bounded import read_file
from stimgen.decoding.dataset import UnusableImage
from stimgen.decoding.features import FeatureFolder
from stimgen.decoding.progress import Advance
from stimgen.decoding.settings import ImageSettings
from stimgen.errors import InputError
from stimgen.images.errors import ImageError
from stimgen.images.pixels import Image
from stimgen.images.sources import load_source
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.store import write_atomically
from stimgen.texture.objective import analyse
from stimgen.texture.tensors import to_batch


@dataclass(frozen=True)
class Cost:
    """Number of images that were measured, and seconds that reading, network and writing took for them."""

    images: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


_COST = TypeAdapter(Cost)
MOST_COST_BYTES = 1000


def upper_triangle(grams: Tensor) -> Tensor:
    """Return the upper triangles of Gram matrices with their diagonals, off-diagonals times sqrt 2.

    With the factor sqrt 2 the Euclidean distance of two vectors is the Frobenius distance of their matrices,
    because an off-diagonal stands for two entries.

    Parameters
    ----------
    grams
        Symmetric matrices, shape (batch, channel, channel).

    Returns
    -------
    Tensor
        Shape (batch, channel · (channel + 1) / 2), row by row: (0, 0), (0, 1), …, (1, 1), (1, 2), ….

    References
    ----------
    Gatys, L. A., Ecker, A. S., & Bethge, M. (2015). Texture synthesis using convolutional neural networks.
    Section 4.

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
) -> list[UnusableImage]:
    """Add the features of images to a folder. Only one batch and the pixels of the next are in memory.

    Parameters
    ----------
    extractor
        The network.
    paths
        The images by their SHA-256.
    folder
        Where features are kept. The time that they took is added to ``cost.json``, except for the first batch,
        which loads libraries.
    image
        Size and colour of the images.
    batch_size
        Number of images in one forward pass.
    advance
        Called with the number of finished images.

    Returns
    -------
    list of UnusableImage
        Images that were changed or became unreadable, and are left out.
    """
    unusable: list[UnusableImage] = []
    cost = read_cost(folder)
    started = time.perf_counter()
    for number, batch in enumerate(_read_ahead(paths, image, batch_size)):
        pixels = {sha256: read for sha256, read in batch.items() if not isinstance(read, UnusableImage)}
        unusable += [read for read in batch.values() if isinstance(read, UnusableImage)]
        if pixels:
            with torch.inference_mode():
                stack = to_batch([*pixels.values()], extractor.device)
                grams = analyse(extractor, stack, list(folder.sizes))
                features = {layer: upper_triangle(gram).cpu().numpy() for layer, gram in grams.items()}
            folder.append(features, [*pixels])
        now = time.perf_counter()
        if number > 0 and pixels:
            cost = Cost(cost.images + len(pixels), cost.seconds + now - started)
            write_atomically(folder.path / "cost.json", json.dumps(vars(cost)) + "\n")
        started = now
        advance(len(batch))
    return unusable


def read_cost(folder: FeatureFolder) -> Cost:
    """Return the cost of the images so far; zero if nothing was measured or the file is damaged."""
    try:
        return _COST.validate_json(read_file(folder.path / "cost.json", MOST_COST_BYTES), strict=True)
    except (OSError, ValidationError):
        return Cost()


def _read_ahead(
    paths: Mapping[str, Path], image: ImageSettings, batch_size: int
) -> Iterator[dict[str, Image | UnusableImage]]:
    """Yield batches of pixels. Threads read the next batch while the network works on one."""
    hashes = list(paths)
    batches = [hashes[start : start + batch_size] for start in range(0, len(hashes), batch_size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [pool.submit(_read, paths[sha256], sha256, image) for sha256 in batches[0]]
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            current = pending
            pending = [pool.submit(_read, paths[sha256], sha256, image) for sha256 in following]
            yield {sha256: read.result() for sha256, read in zip(batch, current, strict=True)}


def _read(path: Path, sha256: str, image: ImageSettings) -> Image | UnusableImage:
    try:
        source = load_source(_Photograph(str(path), str(path), path), image, name="decode")
        if source.sha256 != sha256:
            raise ImageError(f"{path} changed while stimgen was at work.", "Run the same command again.")
    except InputError as error:
        return UnusableImage(str(path), error.problem, error.cure)
    return source.pixels


@dataclass(frozen=True)
class _Photograph:
    """A file of which `load_source` takes the largest central square."""

    id: str
    image: str
    path: Path
    crop: str = "centre"
