"""Images through the network, batch by batch, once for all layers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter, ValidationError

from stimgen.bounded import read_file
from stimgen.decoding.dataset import UnusableImage
from stimgen.decoding.features import FeatureFolder
from stimgen.decoding.inspection import Advance
from stimgen.decoding.representation import upper_triangle
from stimgen.decoding.settings import ImageSettings
from stimgen.errors import InputError
from stimgen.images.pixels import Image, ImageError
from stimgen.images.sources import load_source
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.store import write_atomically
from stimgen.texture.statistics.gram import gram_matrices
from stimgen.texture.tensors import to_batch

Wanted = tuple[Path, str]
"""An image file and the SHA-256 that it had when it was inspected."""

FIRST_BATCHES = 1
"""Left out of the measured time: they load libraries and choose algorithms."""


@dataclass(frozen=True)
class Cost:
    """What the extraction of features took, over all commands that added to a folder.

    Attributes
    ----------
    images
        Images that were measured.
    seconds
        Time for reading, network and writing together.
    """

    images: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


_COST = TypeAdapter(Cost)
MOST_COST_BYTES = 1000


def extract(
    extractor: FeatureExtractor,
    wanted: Sequence[Wanted],
    folder: FeatureFolder,
    image: ImageSettings,
    batch_size: int,
    advance: Advance,
) -> list[UnusableImage]:
    """Add the features of images to a folder; only one batch and the next one's pixels are in memory.

    An image that has changed since it was inspected, or cannot be read any more, is left out.

    Parameters
    ----------
    extractor
        The network.
    wanted
        Images whose features are not there yet.
    folder
        Where features are kept.
    image
        Size and colour that images are brought to.
    batch_size
        Images in one forward pass.
    advance
        Told of progress.

    Returns
    -------
    list of UnusableImage
        What was left out.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    unusable: list[UnusableImage] = []
    cost = read_cost(folder)
    started = time.perf_counter()
    for number, batch in enumerate(_read_ahead(wanted, image, batch_size)):
        good = [(pixels, sha256) for pixels, sha256 in batch if not isinstance(pixels, UnusableImage)]
        unusable += [pixels for pixels, _ in batch if isinstance(pixels, UnusableImage)]
        if good:
            with torch.inference_mode():
                grams = gram_matrices(
                    extractor, to_batch([p for p, _ in good], extractor.device), list(folder.sizes)
                )
                features = {layer: upper_triangle(gram).cpu().numpy() for layer, gram in grams.items()}
            folder.append(features, [sha256 for _, sha256 in good])
        now = time.perf_counter()
        if number >= FIRST_BATCHES and good:
            cost = Cost(cost.images + len(good), cost.seconds + now - started)
            write_atomically(folder.path / "cost.json", json.dumps(vars(cost)) + "\n")
        started = now
        advance(len(batch))
    return unusable


def read_cost(folder: FeatureFolder) -> Cost:
    """Return what was measured so far; nothing before the second batch of a folder, or if it is damaged."""
    try:
        return _COST.validate_json(read_file(folder.path / "cost.json", MOST_COST_BYTES), strict=True)
    except (OSError, ValidationError):  # it says how long a million images would take, and no more
        return Cost()


def _read_ahead(
    wanted: Sequence[Wanted], image: ImageSettings, batch_size: int
) -> Iterator[list[tuple[Image | UnusableImage, str]]]:
    """Yield batches of pixels; threads read the next one while the network works on one."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def begin(start: int) -> list[tuple[Future[Image | UnusableImage], str]]:
            part = wanted[start : start + batch_size]
            return [(pool.submit(_read, path, sha256, image), sha256) for path, sha256 in part]

        ahead = begin(0)
        for start in range(batch_size, len(wanted) + batch_size, batch_size):
            batch, ahead = ahead, begin(start)
            yield [(pixels.result(), sha256) for pixels, sha256 in batch]


def _read(path: Path, sha256: str, image: ImageSettings) -> Image | UnusableImage:
    try:
        source = load_source(_WholeImage(str(path), path), image, name="decode")
        if source.sha256 != sha256:
            raise ImageError(f"{path} changed while stimgen was at work.", "Run the same command again.")
    except InputError as error:
        return UnusableImage(str(path), error.problem, error.cure)
    return source.pixels


@dataclass(frozen=True)
class _WholeImage:
    """The largest central square of a file, in the words of `load_source`."""

    id: str
    path: Path
    crop: str = "centre"

    @property
    def image(self) -> str:
        return self.id
