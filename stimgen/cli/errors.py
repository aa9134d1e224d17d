"""How errors are shown: a message and an exit code in place of a traceback."""

from __future__ import annotations

import shlex
import sys
import traceback
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
            # What a shell must be given; the name it was found by may be a path.
            again = shlex.join(["stimgen", *sys.argv[1:]])
            say(f"Interrupted. What was finished is kept, and the same command goes on from there: {again}")
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
    print(message, file=sys.stderr)  # noqa: T201
