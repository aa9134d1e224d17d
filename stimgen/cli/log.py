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
"""The logger of the package. Programs that use it from Python add their own handlers."""


@contextlib.contextmanager
def logged(path: Path | None, exit_code: Callable[[BaseException], int]) -> Iterator[None]:
    """Append to a file what happens inside: the command, its events, and its end.

    Each line is a JSON object with `time` (UTC), `level`, `event` and the keys of the event. Errors have
    their traceback, also those that the console shows as a message only. If the file cannot be written any
    more, the console says so once, and the command goes on.
    """
    if path is None:
        yield
        return
    handler = _handler(path)
    level, started = LOGGER.level, time.monotonic()
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    circumstances = {
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "pid": os.getpid(),
        "stimgen": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    LOGGER.info("command", extra=circumstances)

    def ending(code: int) -> dict[str, object]:
        return {"exit_code": code, "seconds": round(time.monotonic() - started, 3)}

    try:
        yield
    except BaseException as error:
        cause = error if str(error) else None  # typer ends commands with exceptions without a message
        LOGGER.error("end", exc_info=cause, extra=ending(exit_code(error)) | {"error": str(error)})
        raise
    else:
        LOGGER.info("end", extra=ending(0))
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        with contextlib.suppress(OSError):  # reported when it was written
            handler.close()


class _LogFile(logging.FileHandler):
    """A file that is given up, with one message, when it cannot be written."""

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
    form = JsonFormatter(
        "{levelname}{message}", style="{", rename_fields=names, timestamp="time", json_ensure_ascii=False
    )
    handler.setFormatter(form)
    return handler
