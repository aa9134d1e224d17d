"""Files read whole, if they are files and not larger than they should be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is not waited for.

    Raises
    ------
    OSError
        If it cannot be read, is something else than a regular file, has more than `most_bytes` bytes, or
        grows.
    """
    # A pipe would be opened only when somebody writes to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if state.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"Larger than {most_bytes} bytes", str(path))
        content = file.read(state.st_size + 1)
    # Below /proc, files say that they are empty, and may be endless.
    if len(content) > state.st_size:
        raise OSError(errno.EFBIG, "Longer than it says, or written to while it was read", str(path))
    return content
