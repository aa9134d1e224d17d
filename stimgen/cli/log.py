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
    """Append to a file what happens inside: the command, its events, and its end with any traceback.

    Each line is a JSON object with `time` (UTC), `level`, `event` and the keys of the event.
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
    ending: dict[str, object] = {"exit_code": 0}
    cause: BaseException | None = None
    try:
        yield
    except BaseException as error:
        cause = error if str(error) else None  # typer ends commands with exceptions without a message
        ending = {"exit_code": exit_code(error), "error": str(error)}
        raise
    finally:
        ending["seconds"] = round(time.monotonic() - started, 3)
        level_of_end = logging.ERROR if "error" in ending else logging.INFO
        LOGGER.log(level_of_end, "end", exc_info=cause, extra=ending)
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
