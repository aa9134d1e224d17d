"""Standard streams that may be closed, full, or unable to show every character."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def settle_streams() -> None:
    """Make sure that no work is lost because a message cannot be printed.

    Messages that the standard error cannot take (disk full, reader gone) are dropped. Characters that an
    encoding lacks are escaped. Closed streams are opened to nowhere: otherwise the next file that is opened
    would get their number, and all that is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
    # Under a test runner, or in another program, the streams have been replaced.
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # A console of Windows takes text, not bytes.
    if sys.stderr is sys.__stderr__ and not (os.name == "nt" and sys.stderr and sys.stderr.isatty()):
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        raw = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


def release_output() -> None:
    """Flush the standard output; if that fails, redirect it, so that Python ends without an error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)


class _Forgiving(io.FileIO):
    """A file that drops what it cannot write."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
