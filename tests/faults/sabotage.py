"""Faults that happen to a `stimgen` process while it works; imported there, before the command line is read.

Only the moment is arranged: the disk is really full, the folder really gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from stimgen import atomic


def when_writing(pattern: str, action: Callable[[], object], *, nth: int = 1) -> None:
    """Do something just before the nth file whose path matches `pattern` is written."""
    original, count = atomic.writing, 0

    def writing(path: Path) -> contextlib.AbstractContextManager[IO[bytes]]:
        nonlocal count
        if fnmatch.fnmatch(str(path), pattern):
            count += 1
            if count == nth:
                action()
        return original(path)

    for module in list(sys.modules.values()):
        if getattr(module, "writing", None) is original:
            module.writing = writing


def fill(folder: str) -> None:
    """Leave no byte free on the disk of a folder."""
    with (Path(folder) / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def obey_permissions() -> None:
    """Give up the capabilities of root, so that permission bits hold as they do for everybody else."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the version of these structures, and this process
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")
