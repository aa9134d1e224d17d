"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp-"
"""What names of unfinished files begin with."""


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power failure."""
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written piece by piece; it is there when the context ends, and not if that fails.

    It is written under a temporary name in the same folder, synced to disk and renamed.
    """
    temporary = _temporary(path)
    try:
        with _synced(temporary) as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Write a new file as `write_file` does; of two processes or machines that try, one succeeds."""
    temporary = _temporary(path)
    try:
        with _synced(temporary) as file:
            file.write(content)
        try:
            # A rename would replace what another machine has just created; a link does not.
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # FAT and the like have no links; they are not shared between machines
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            temporary.replace(path)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)  # which a message can name
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, so that what is put there is not lost after a power failure."""
    if path.is_dir():
        return
    missing = [path, *path.parents]
    missing = missing[: next(place for place, folder in enumerate(missing) if folder.is_dir())]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_folder(folder.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file; what was written is on disk when the context ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and renames are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
            errno.EOPNOTSUPP,
            errno.ENOSYS,
        ):  # file systems that cannot sync a folder; their server does
            raise
    finally:
        os.close(handle)
