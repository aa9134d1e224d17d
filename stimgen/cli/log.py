"""The log of a command: one JSON object per line."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stimgen import __version__
from stimgen.errors import InputError

LOGGER = logging.getLogger("stimgen")
"""What the package logs to. Whoever uses it from Python adds handlers of their own."""


@contextlib.contextmanager
def logged(path: Path | None, exit_code: Callable[[BaseException], int]) -> Iterator[None]:
    """Append to a file what happens inside: the command, its events, and how it ended.

    Each line is a JSON object with `time` (UTC), `level`, `event` and what belongs to the event. Errors have
    their traceback, also those that the console shows as a message only. If the file cannot be written any
    more, the console says so once, and the command goes on.

    Parameters
    ----------
    path
        The file; None for no log.
    exit_code
        Returns the exit code that an exception leads to.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    if path is None:
        yield
        return
    handler = _handler(path)
    LOGGER.addHandler(handler)
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    started = time.monotonic()
    LOGGER.info("command", extra=_circumstances())
    try:
        yield
    except BaseException as error:
        ending = _ending(exit_code(error), started)
        cause = error if str(error) else None  # typer ends commands with exceptions that say nothing
        LOGGER.error("end", exc_info=cause, extra=ending | {"error": str(error)})
        raise
    else:
        LOGGER.info("end", extra=_ending(0, started))
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        with contextlib.suppress(OSError):  # said when it was written
            handler.close()


class _LogFile(logging.FileHandler):
    """A file whose failure is said once and takes nothing down."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        LOGGER.removeHandler(self)
        message = f"The log {self.baseFilename} cannot be written any more ({error}); going on without it."
        print(message, file=sys.stderr)  # noqa: T201


def _handler(path: Path) -> logging.Handler:
    from pythonjsonlogger.json import JsonFormatter

    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The log {path} cannot be opened: {error.strerror}.", "Name another file with --log."
        ) from None
    names = {"message": "event", "levelname": "level", "exc_info": "traceback"}
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{message}", style="{", rename_fields=names, timestamp="time", json_ensure_ascii=False
        )
    )
    return handler


def _circumstances() -> dict[str, object]:
    return {
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "pid": os.getpid(),
        "stimgen": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _ending(code: int, started: float) -> dict[str, object]:
    return {"exit_code": code, "seconds": round(time.monotonic() - started, 3)}
