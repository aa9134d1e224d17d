"""Files of a run folder that somebody else may have written: read only if they are files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

MOST_BYTES = 2**30
"""Largest file that is read whole; the table of a million stimuli takes about as much."""


class UnreadableError(Exception):
    """A file is missing, or is nothing to be read; the message is the rest of a sentence."""


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file; links are not followed, and nothing that is no file is waited for."""
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
    """Return what a regular file holds."""
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise UnreadableError(f"is larger than {MOST_BYTES} bytes")
            return file.read(size)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
