"""Every image is read once before hours are spent on them, and known by its SHA-256."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stimgen.bounded import read_file
from stimgen.decoding.dataset import UnusableImage
from stimgen.decoding.features import refuse_link
from stimgen.errors import InputError, StimgenError
from stimgen.images.read import read_image

Advance = Callable[[int], None]
"""Told how many more images are done."""

MOST_BYTES = 2**31
"""Largest file of what was found earlier; ten million images take as much."""
AT_ONCE = 64
"""Images that threads read ahead; their pixels are dropped at once."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is known of an image file after it was read.

    Attributes
    ----------
    path
        Absolute path.
    size_bytes, mtime_ns
        Of the file, when it was read.
    sha256
        Of its bytes.
    side_px
        The shorter of its sides.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    side_px: int


_ENTRY = TypeAdapter(Inspected)


def inspect_images(
    paths: Sequence[Path], size_px: int, log: Path, advance: Advance
) -> tuple[dict[Path, str], list[UnusableImage]]:
    """Read every image, and say which can be used.

    What was found is appended to `log`, so that no file is read twice for this: one whose size and time of
    change are those in the log is taken to be the same. Files that cannot be read are tried again each time.

    Parameters
    ----------
    paths
        The files.
    size_px
        Images with a shorter side than this are refused, because they would have to be enlarged.
    log
        File with one JSON object per line. A last line that a kill cut off is ignored and removed.
    advance
        Told of progress.

    Returns
    -------
    sha256 : dict of Path to str
        Of each file that can be used.
    unusable : list of UnusableImage
        All others.

    Raises
    ------
    OSError
        If the log cannot be read or written.
    StimgenError
        If the log is damaged, or a link.
    """
    refuse_link(log)
    known = _read_log(log)
    sha256: dict[Path, str] = {}
    unusable = []
    with log.open("a", encoding="utf-8") as lines:
        for path, found, fresh in _inspected(paths, known):
            if isinstance(found, UnusableImage):
                unusable.append(found)
            elif found.side_px < size_px:
                unusable.append(_too_small(path, found.side_px, size_px))
            else:
                sha256[path] = found.sha256
            if fresh and isinstance(found, Inspected):
                lines.write(json.dumps(asdict(found)) + "\n")
                lines.flush()
            advance(1)
    return sha256, unusable


def _inspected(
    paths: Sequence[Path], known: dict[str, Inspected]
) -> Iterator[tuple[Path, Inspected | UnusableImage, bool]]:
    """Yield each path with what is found, and whether the file was read for it."""

    def look(path: Path) -> tuple[Path, Inspected | UnusableImage, bool]:
        before = known.get(str(path.absolute()))
        try:
            state = path.stat()
            if before and (before.size_bytes, before.mtime_ns) == (state.st_size, state.st_mtime_ns):
                return path, before, False
            raw = read_image(path)
        except InputError as error:
            return path, UnusableImage(str(path), error.problem, error.cure), True
        except OSError as error:
            return path, UnusableImage(str(path), f"{path}: {error.strerror}.", "Mend or remove it."), True
        side = min(raw.pixels.shape[:2])
        size_and_time = (state.st_size, state.st_mtime_ns)
        return path, Inspected(str(path.absolute()), *size_and_time, raw.sha256, side), True

    rest = iter(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while part := list(islice(rest, AT_ONCE)):
            yield from pool.map(look, part)


def _read_log(log: Path) -> dict[str, Inspected]:
    try:
        content = read_file(log, MOST_BYTES)
    except FileNotFoundError:
        return {}
    whole, newline, cut_off = content.rpartition(b"\n")
    if cut_off:
        os.truncate(log, len(whole) + len(newline))
    try:
        entries = [_ENTRY.validate_json(line, strict=True) for line in whole.splitlines()]
    except ValidationError:
        raise StimgenError(f"{log} is damaged.", "Remove it: images are then read again.") from None
    return {entry.path: entry for entry in entries}


def _too_small(path: Path, side_px: int, size_px: int) -> UnusableImage:
    return UnusableImage(
        str(path),
        f"{path} has a side of {side_px} px, and images of {size_px} px are asked for.",
        f"Use a larger image, or --size-px {side_px} or less: images are never enlarged.",
    )
