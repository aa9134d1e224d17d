"""Errors as a message and an exit code, the log, and streams that may be closed or full."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from stimgen import __version__
from stimgen.errors import InputError, StimgenError, of_the_machine, printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOGGER = logging.getLogger("stimgen")
"""The logger of the package. Programs that use it from Python add their own handlers."""

UsageError: type[BaseException] = typer.BadParameter.__bases__[0]
"""The error of a wrong command line. It is click's or, in newer versions, typer's own."""


class Commands(TyperGroup):
    """Commands that end with a message and an exit code in place of a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept --debug and --log also after the command, where people add them."""
        return super().parse_args(ctx, _common_options_first(args))

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and turn what it raises into an exit code."""
        try:
            with logged(ctx.params["log"]):
                return super().invoke(ctx)
        except (typer.Exit, UsageError, BrokenPipeError):
            raise  # typer deals with these
        except typer.Abort:  # Ctrl-C at a question
            say("\nInterrupted before anything was done.")
            raise typer.Exit(130) from None
        except KeyboardInterrupt:
            # A line that a shell can run; the name in sys.argv may be a path.
            again = shlex.join(["stimgen", *sys.argv[1:]])
            say(f"Interrupted. What was finished is kept, and the same command goes on from there: {again}")
            raise typer.Exit(130) from None
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            known = error if isinstance(error, StimgenError) else of_the_machine(error)
            bug = (
                f"Unexpected {type(error).__name__}: {error}\nThis is a bug. Please report it with what the "
                "same command prints with --debug, and what stimgen --version prints."
            )
            say(str(known or bug))
            raise typer.Exit(exit_code(error)) from None


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that raises `error`."""
    if isinstance(error, typer.Exit | StimgenError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return 130
    if isinstance(error, UsageError):
        return 2
    return 1 if isinstance(error, BrokenPipeError) else 4


def _common_options_first(arguments: list[str]) -> list[str]:
    """Return the arguments with the options of all commands in front."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first, others, rest = list[str](), list[str](), iter(arguments[:end])
    for argument in rest:
        if argument == "--log":
            first += [argument, *itertools.islice(rest, 1)]
        elif argument == "--debug" or argument.startswith("--log="):
            first.append(argument)
        else:
            others.append(argument)
    return [*first, *others, *arguments[end:]]


def say(message: str) -> None:
    """Print a message to the standard error, so that results on the standard output can be piped."""
    print(printable(message), file=sys.stderr)  # noqa: T201


def settle_streams() -> None:
    """Make sure that no work is lost because a message cannot be printed.

    Messages that the standard error cannot take are dropped, and characters that it lacks are escaped. Closed
    streams are opened to nowhere, or else the next file would get their number, and all that is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this
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


@contextlib.contextmanager
def logged(path: Path | None) -> Iterator[None]:
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
        LOGGER.removeHandler(self)
        reason = sys.exc_info()[1]
        say(f"The log {self.baseFilename} cannot be written any more ({reason}); going on without it.")


def _handler(path: Path) -> logging.Handler:
    from pythonjsonlogger.json import JsonFormatter

    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        problem = f"The log {path} cannot be opened: {error.strerror}."
        raise InputError(problem, "Name another file with --log.") from None
    names = {"message": "event", "levelname": "level", "exc_info": "traceback"}
    form = JsonFormatter(
        "{levelname}{message}", style="{", rename_fields=names, timestamp="time", json_ensure_ascii=False
    )
    handler.setFormatter(form)
    return handler
