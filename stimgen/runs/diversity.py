"""How different the exemplars of one condition are from each other, measured on the files of a run."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import luminance
from stimgen.images.png import decode_png
from stimgen.measure.copying import NO_CONTRAST
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256

MEMORY_BYTES = 2**27
"""Most that the pixels of one block of images take; two blocks are compared at a time."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """What of a record says with which other files its file is compared."""

    stimulus_id: str
    source: str
    condition: str
    size_px: int
    png_sha256: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return what is needed of a record."""
        side = record.image.size_px
        return cls(record.stimulus_id, record.source.id, record.condition, side, record.png_sha256)


def seed_correlations(folder: RunFolder, exemplars: Sequence[Exemplar]) -> dict[str, float | None]:
    """Return, by stimulus, the highest correlation with another exemplar of its source and condition.

    −1..1 (`correlation_matrix`), and None without another exemplar or without contrast. A file that is
    missing or not the one that its record describes is an error. Results for the same files are kept.
    """
    groups: dict[tuple[str, str], list[Exemplar]] = defaultdict(list)
    for exemplar in exemplars:
        groups[exemplar.source, exemplar.condition].append(exemplar)
    found: dict[str, float | None] = {}
    for group in groups.values():
        files = tuple((folder.png(exemplar.stimulus_id), exemplar.png_sha256) for exemplar in group)
        block = max(1, MEMORY_BYTES // (8 * group[0].size_px ** 2))
        values = _highest(files, block) if len(group) > 1 else (None,)
        found |= dict(zip((exemplar.stimulus_id for exemplar in group), values, strict=True))
    return found


def standardised(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance of an image, (H, W) or (H, W, 3), with mean 0 and norm 1, shape (H · W,).

    Images whose squared deviations from their mean are no more than rounding become zeros
    (`stimgen.measure.copying.NO_CONTRAST`).
    """
    values = luminance(image).ravel()
    deviations: NDArray[np.float64] = values - values.mean()
    squares = float(deviations @ deviations)
    if squares <= NO_CONTRAST * float(values @ values):
        return np.zeros_like(values)
    deviations /= np.sqrt(squares)
    return deviations


def correlation_matrix(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each of some images with each of others, pixel by pixel.

    Σ (x − mean x) (y − mean y) / √(Σ (x − mean x)² · Σ (y − mean y)²), without any shift, from `standardised`
    images of one shape, (M, H · W) and (N, H · W): −1..1, shape (M, N), NaN where one has no contrast.
    """
    matrix = np.clip(rows @ columns.T, -1, 1)
    matrix[~rows.any(axis=1)] = np.nan
    matrix[:, ~columns.any(axis=1)] = np.nan
    return matrix


@functools.lru_cache(maxsize=4096)
def _highest(files: tuple[tuple[Path, str], ...], block: int) -> tuple[float | None, ...]:
    """Return for each file its highest correlation with another one; two blocks of images are in memory."""
    highest = np.full(len(files), -np.inf)
    for start in range(0, len(files), block):
        rows = slice(start, start + block)
        images = _read(files[rows])
        for other in range(start, len(files), block):
            columns = slice(other, other + block)
            same = other == start
            matrix = correlation_matrix(images, images if same else _read(files[columns]))
            matrix[np.isnan(matrix)] = -np.inf
            if same:
                np.fill_diagonal(matrix, -np.inf)
            highest[rows] = np.maximum(highest[rows], matrix.max(axis=1))
            highest[columns] = np.maximum(highest[columns], matrix.max(axis=0))
    return tuple(None if value == -np.inf else float(value) for value in highest)


def _read(files: Sequence[tuple[Path, str]]) -> NDArray[np.float64]:
    planes = []
    for path, png_sha256 in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StimgenError(
                f"{path} cannot be read: {error.strerror}.", "Run again: what is missing is made again."
            ) from error
        if sha256(content) != png_sha256:
            raise StimgenError(
                f"{path} was altered while stimgen was at work.", "Run again: what was altered is made again."
            )
        planes.append(standardised(decode_png(content)))
    return np.stack(planes)
