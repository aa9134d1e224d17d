"""Files of a run folder that somebody else may have written: read only if they are files."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import IO


class UnreadableError(Exception):
    """A file is missing, or is nothing to be read; the message is the rest of a sentence."""


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file; links are not followed, and nothing that is no file is waited for.

    Raises
    ------
    UnreadableError
        If it is missing, is something else, or cannot be read.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise UnreadableError("is a symbolic link, and not a file of this run")
        if not stat.S_ISREG(mode):
            raise UnreadableError("is a folder" if stat.S_ISDIR(mode) else "is not a regular file")
        return path.open("rb")
    except FileNotFoundError:
        raise UnreadableError("is missing") from None
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None


def read_regular(path: Path) -> bytes:
    """Return what a regular file holds.

    Raises
    ------
    UnreadableError
        As `open_regular` does.
    """
    with open_regular(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
