"""Regular files of bounded size, read whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a regular file; opening a pipe or a device does not block.

    `OSError` is raised if it is something else, has more than `most_bytes` bytes, or grows.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if state.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"Larger than {most_bytes} bytes", str(path))
        content = file.read(state.st_size + 1)
    # Files below /proc have a size of 0, and may be endless.
    if len(content) > state.st_size:
        raise OSError(errno.EFBIG, "Longer than it says, or written to while it was read", str(path))
    return content
