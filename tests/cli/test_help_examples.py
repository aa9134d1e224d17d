"""What --help shows: every command in its group, and examples that the command line takes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from stimgen.cli import PANELS, app


def all_commands(command: Any = None, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    command = command or get_command(app)
    found = {words: command}
    for name, sub in getattr(command, "commands", {}).items():
        found |= all_commands(sub, (*words, name))
    return found


COMMANDS = all_commands()


def examples(command):
    _, colon, text = command.help.partition("For example:\n")
    assert colon, f"{command.name} has no examples"
    return [line.strip() for line in text.splitlines() if line.strip()]


EXAMPLES = [(words, example) for words, command in sorted(COMMANDS.items()) for example in examples(command)]


def parse(example):
    """Raise unless the command line has this command with these options and arguments."""
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "stimgen"
    root = get_command(app)
    context = root.make_context("stimgen", words, resilient_parsing=words[-1] == "--help")
    while getattr(context.command, "commands", None):
        rest = [*context._protected_args, *context.args]
        if rest in ([], ["--help"]):
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context, resilient_parsing=rest[-1:] == ["--help"])
    return context


@pytest.mark.parametrize(("words", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_example_is_a_valid_command_line(words, example):
    assert tuple(shlex.split(example)[1 : len(words) + 1]) == words
    assert not parse(example).args


def test_help_lists_all_commands_in_their_groups():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    listed = re.findall(r"^[│|] (\w+)  ", text, re.MULTILINE)
    headings = re.findall(r"^╭─ ([A-Z][\w ]*?) ─", text, re.MULTILINE)
    assert headings == ["Options", *PANELS]
    assert [name for name in listed if name in COMMANDS[()].commands] == [
        "new", "run", "trials", "check", "verify", "tables", "report", "figure", "stats", "decode",
        "schema", "weights", "cluster",
    ]  # fmt: skip
    assert set(listed) >= set(COMMANDS[()].commands)
