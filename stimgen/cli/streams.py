"""Standard streams that may be closed, full, or unable to show every character."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def settle_streams() -> None:
    """Make the streams of this process such that no work is lost because something cannot be said.

    What the standard error does not take, because its disk is full or its reader gone, is left out.
    Characters that an encoding lacks are shown as escapes. Streams that are closed lead nowhere: otherwise
    the next file that is opened would get their number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
    # Under a test runner, or in another program, they are somebody else's.
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # A console of Windows takes text, not bytes.
    if sys.stderr is sys.__stderr__ and not (os.name == "nt" and sys.stderr and sys.stderr.isatty()):
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        raw = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


def release_output() -> bool:
    """Flush the standard output; return False, and let it lead nowhere, if it does not take what is left."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
        return False
    return True


class _Forgiving(io.FileIO):
    """A file that takes what it can."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
