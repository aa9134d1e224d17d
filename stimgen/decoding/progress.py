"""Progress of `stimgen decode` on the terminal and in the log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

LOGGER = logging.getLogger("stimgen")

Advance = Callable[[int], None]
"""Called with the number of items that were finished since the last call."""


class Reporter:
    """Progress bars and lines on standard error, and in the log also if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)

    @contextlib.contextmanager
    def bar(self, task: str, total: int) -> Iterator[Advance]:
        """Show a bar with the time left, or a line where standard error is no terminal."""
        LOGGER.info("begin", extra={"what": task, "total": total})
        hidden = self._console.quiet or not self._console.is_terminal
        if hidden:
            self.say(f"{task}: {total}")
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, disable=hidden) as bars:
            number = bars.add_task(task, total=total)
            yield lambda more: bars.advance(number, more)

    def say(self, text: str) -> None:
        """Write a line."""
        LOGGER.info("note", extra={"text": text})
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
