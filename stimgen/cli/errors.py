"""Errors as a message and an exit code in place of a traceback, and streams that may be closed or full."""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from stimgen.cli.log import logged
from stimgen.errors import StimgenError, of_the_machine, printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

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
            with logged(ctx.params["log"], exit_code):
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
            if known is not None:
                say(str(known))
            else:
                say(
                    f"Unexpected {type(error).__name__}: {error}\n"
                    "This is a bug. Please report it with what the same command prints with --debug, "
                    "and what stimgen --version prints."
                )
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
    first: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--log":
            first += [argument, *([value] if (value := next(rest, None)) is not None else [])]
        elif argument == "--debug" or argument.startswith("--log="):
            first.append(argument)
        else:
            others.append(argument)
            if argument == "--":
                break
    return [*first, *others, *rest]


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
