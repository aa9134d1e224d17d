"""How errors are shown: a message and an exit code in place of a traceback."""

from __future__ import annotations

import sys
import traceback
import unicodedata
from typing import Any

import typer
from typer.core import TyperGroup

from stimgen.errors import StimgenError

UsageError: type[BaseException] = typer.BadParameter.__bases__[0]
"""The error of a wrong command line. It is click's or, in newer versions, typer's own."""


class Commands(TyperGroup):
    """Commands that end with a message and an exit code instead of a traceback (but for --debug)."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and turn what it raises into an exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, UsageError, BrokenPipeError):
            raise  # typer deals with these
        except KeyboardInterrupt:
            say("Interrupted. What was finished is kept; the same command goes on from there.")
            raise typer.Exit(130) from None
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            if isinstance(error, StimgenError):
                say(str(error))
                raise typer.Exit(error.exit_code) from None
            say(
                f"Unexpected {type(error).__name__}: {error}\n"
                "This is a bug. Please report it with what stimgen --debug prints for the same command."
            )
            raise typer.Exit(4) from None


def say(message: str) -> None:
    """Print what is not a result: to the standard error, so that results can be piped."""
    print(printable(message), file=sys.stderr)  # noqa: T201


def printable(text: str) -> str:
    """Return a text that steers no terminal: control characters, as file names may have, are escaped."""
    steering = {c for c in text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
    return text.translate({ord(c): c.encode("unicode_escape").decode() for c in steering})
