"""A run's progress on a terminal."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from stimgen.runs.standing import Standing, clock_time, descent, percent, rate, time_left

WIDEST_BAR, NARROWEST_BAR = 40, 8


class Bars:
    """A bar for the run, and one for the batch under way with how far its synthesis has come.

    Parameters
    ----------
    standing
        What to show.
    """

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield up to three lines, none wider than the terminal."""
        standing, batch = self._standing, self._standing.batch
        width = min(max(options.max_width // 5, NARROWEST_BAR), WIDEST_BAR)
        table = Table.grid(Column(width=width), Column(justify="right"), Column(), padding=(0, 1))
        failed = Text(f", {standing.failed} failed", style="red") if standing.failed else Text()
        more = ", ".join(
            part
            for part in (
                f"{clock_time(standing.elapsed_s)} gone",
                time_left(standing.left_s),
                rate(standing.per_minute),
            )
            if part
        )
        stimuli = Text(f"{standing.finished}/{standing.stimuli} stimuli")
        _row(table, width, standing.share, Text.assemble(stimuli, failed, f", {more}"))
        if batch is None:
            yield table
            return
        _row(table, width, batch.share, Text(batch.name))
        yield table
        if text := descent(batch):
            yield Text(f"  {text}", style="dim", no_wrap=True, overflow="ellipsis")


def _row(table: Table, width: int, share: float, text: Text) -> None:
    text.no_wrap, text.overflow = True, "ellipsis"
    bar = ProgressBar(total=1.0, completed=share, width=width)
    table.add_row(bar, Text(percent(share), no_wrap=True), text)
