"""How errors are shown: a message and an exit code in place of a traceback."""

from __future__ import annotations

import shlex
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from stimgen.cli.log import logged
from stimgen.errors import StimgenError, of_the_machine, printable

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
    """Return the arguments with the options of all commands in front.

    Examples
    --------
    >>> _common_options_first(["run", "a.yaml", "--log", "a.jsonl", "--debug"])
    ['--log', 'a.jsonl', '--debug', 'run', 'a.yaml']
    """
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
