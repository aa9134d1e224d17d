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
from stimgen.images.png import decode_png
from stimgen.measure.correlation import correlation_matrix, standardised
from stimgen.runs.record import Record
from stimgen.runs.store import RunFolder, sha256

MEMORY_BYTES = 2**27
"""Most that the pixels of one block of images take; two blocks are compared at a time."""

_File = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """What of a record says with which others its file is compared."""

    stimulus_id: str
    source: str
    condition: str
    size_px: int
    png_sha256: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return it of a record."""
        side = record.image.size_px
        return cls(record.stimulus_id, record.source.id, record.condition, side, record.png_sha256)


def seed_correlations(folder: RunFolder, exemplars: Sequence[Exemplar]) -> dict[str, float | None]:
    """Return, by stimulus, the highest correlation with another exemplar of its source and condition.

    See `stimgen.measure.correlation`. What was computed for the same files is not computed again in this
    process: tables are written before a run and after it.

    Parameters
    ----------
    folder
        The run.
    exemplars
        Stimuli that are done, all those that are to be compared.

    Returns
    -------
    dict of str to float or None
        −1..1 for each stimulus id; None without another exemplar, or where there is no contrast.

    Raises
    ------
    StimgenError
        If a file is missing or is not the one that its record describes. Records are read together with
        their files, so something else has changed the folder since.
    """
    groups: dict[tuple[str, str], list[Exemplar]] = defaultdict(list)
    for one in exemplars:
        groups[one.source, one.condition].append(one)
    return {
        one.stimulus_id: value
        for group in groups.values()
        for one, value in zip(group, _of_group(folder, group), strict=True)
    }


def _of_group(folder: RunFolder, group: Sequence[Exemplar]) -> tuple[float | None, ...]:
    if len(group) == 1:
        return (None,)
    block = max(1, MEMORY_BYTES // (8 * group[0].size_px ** 2))
    return _highest(tuple((folder.png(one.stimulus_id), one.png_sha256) for one in group), block)


@functools.lru_cache(maxsize=4096)
def _highest(files: tuple[_File, ...], block: int) -> tuple[float | None, ...]:
    """Return for each of some files its highest correlation with another one.

    Only two blocks of images are in memory at a time; in groups of more images are read again.
    """
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


def _read(files: Sequence[_File]) -> NDArray[np.float64]:
    return np.stack([standardised(decode_png(_content(path, expected))) for path, expected in files])


def _content(path: Path, expected: str) -> bytes:
    """Return a file's bytes, if they are those that the record is about."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StimgenError(
            f"{path} cannot be read: {error.strerror}.", "Run again: what is missing is made again."
        ) from error
    if sha256(content) != expected:
        raise StimgenError(
            f"{path} was altered while stimgen was at work.", "Run again: what was altered is made again."
        )
    return content
