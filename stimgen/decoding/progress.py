"""What a user sees while features are made and classifiers trained."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stimgen.decoding.dataset import UnusableImage
from stimgen.decoding.inspection import Advance

LOGGER = logging.getLogger("stimgen")


class Reporter:
    """Bars with the time left on a terminal, and lines; nothing when quiet.

    All of it goes to the logger `stimgen` too, also when quiet.

    Parameters
    ----------
    quiet
        Show nothing.
    console
        Where to write; standard error by default.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, quiet=quiet)
        self._quiet = quiet

    @contextlib.contextmanager
    def bar(self, what: str, total: int) -> Iterator[Advance]:
        """Show a bar while there is work to do; call what is yielded with the number of finished items.

        Where there is no terminal, a line says that the work has begun.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        LOGGER.info("begin", extra={"what": what, "total": total})
        hidden = self._quiet or not self._console.is_terminal
        if hidden:
            self.say(f"{what}: {total}")
        with Progress(*columns, console=self._console, disable=hidden) as bars:
            task = bars.add_task(what, total=total)
            yield lambda more: bars.advance(task, more)

    def left_out(self, unusable: Sequence[UnusableImage]) -> None:
        """Say which images are left out, and why."""
        for image in unusable:
            self.say(f"LEFT OUT  {image.error} {image.cure}")

    def say(self, text: str) -> None:
        """Write a line, as it is."""
        LOGGER.info("note", extra={"text": text})
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
