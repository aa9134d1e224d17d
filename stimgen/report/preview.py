"""The preview: a page in the run folder that shows a run while it works, written again every few seconds.

It is a file and no server: it needs no port, is seen on another machine that shares the disk, and its last
version stays when the process has ended.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stimgen.atomic import write_file
from stimgen.errors import StimgenError
from stimgen.images.png import decode_png
from stimgen.report.thumbnails import webp
from stimgen.runs.record import Record
from stimgen.runs.run_state import RunState, clock_time, descent, percent, rate, time_left
from stimgen.runs.store import PREVIEW_MARK, RunFolder
from stimgen.runs.tables import Failure

LOGGER = logging.getLogger("stimgen")

EVERY_S = 3
"""Seconds between two versions of the page, and after which a browser loads it again."""
MOST_SHOWN = 60
"""Newest stimuli, and newest failures, that are on the page."""
THUMBNAIL_PX = 96
MOST_POINTS = 300
"""Of the curve; more are thinned out."""


@dataclass(frozen=True)
class Shown:
    """A finished stimulus on the page; `thumbnail` is a data URI, None if its file cannot be read."""

    record: Record
    thumbnail: str | None


class Preview:
    """Writes the preview of a run, a `stimgen.runs.run_state.Watcher`; nothing that it does ends the run.

    Parameters
    ----------
    folder
        Where the run is.
    title
        Name of the run.
    say
        Shows a line to the user.
    clock
        Returns seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        title: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._title, self._say, self._clock = folder, title, say, clock
        self._environment = Environment(
            loader=PackageLoader("stimgen.report"),
            autoescape=True,  # names and messages are text, whatever is in them
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        words = {"clock": clock_time, "left": time_left, "rate": rate, "percent": percent, "descent": descent}
        self._environment.filters |= words
        self._written = -math.inf
        self._begun = self._complained = False
        self._standing: RunState | None = None
        self._records: list[Record] = []  # the newest, oldest first
        self._thumbnails: dict[str, str | None] = {}
        self._failures: list[Failure] = []
        self._distances: list[tuple[str, int, float]] = []  # batch, stage, relative distance

    def show(self, standing: RunState) -> None:
        """Take where the run stands, and write the page if it is time to; open it in a browser at first."""
        self._standing = standing
        batch = standing.batch
        if batch is not None and batch.distance is not None:
            if self._distances and self._distances[-1][0] != batch.name:
                self._distances.clear()
            self._distances.append((batch.name, batch.stage, batch.distance))
        now = self._clock()
        if now - self._written < EVERY_S:
            return
        self._written = now
        if self._write(outcome="", report=None) and not self._begun:
            self._begun = True
            open_in_browser(self._folder.preview, self._say)

    def stimulus(self, record: Record) -> None:
        """Take a stimulus that is made."""
        self._records = [*self._records, record][-MOST_SHOWN:]

    def failure(self, failure: Failure) -> None:
        """Take a stimulus that could not be made."""
        self._failures = [*self._failures, failure][-MOST_SHOWN:]

    def end(self, outcome: str, report: Path | None = None) -> None:
        """Write the last version.

        Parameters
        ----------
        outcome
            How the run ended.
        report
            Its report in the run folder, to which the page then leads; None if there is none.
        """
        if self._begun:
            self._write(outcome, report)

    def _write(self, outcome: str, report: Path | None) -> bool:
        try:
            if self._folder.has_other_preview():
                raise FileExistsError(f"{self._folder.preview} is no preview of stimgen's")
            write_file(self._folder.preview, self._page(outcome, report).encode("utf-8", "replace"))
        except Exception as error:
            if not self._complained:
                LOGGER.exception("no preview")
                self._say(f"The preview cannot be written ({error}); the run goes on.")
            self._complained = True
            return False
        return True

    def _page(self, outcome: str, report: Path | None) -> str:
        if report is not None:
            template, values = "preview_end.html", {"report": report.name, "outcome": outcome}
            return self._render(template, **values)
        newest = [Shown(record, self._thumbnail(record)) for record in reversed(self._records)]
        self._thumbnails = {one.record.stimulus_id: one.thumbnail for one in newest}
        by_condition: dict[str, list[Shown]] = {}
        for one in newest:
            by_condition.setdefault(one.record.condition, []).append(one)
        stages = [(stage, distance) for _, stage, distance in self._distances]
        return self._render(
            "preview.html",
            standing=self._standing,
            outcome=outcome,
            folder=str(self._folder.path),
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            every_s=EVERY_S,
            by_condition=by_condition,
            shown=len(newest),
            failures=self._failures[::-1],
            curve=curve(stages),
            side=THUMBNAIL_PX,
        )

    def _render(self, template: str, **values: Any) -> str:
        page = self._environment.get_template(template).render(title=self._title, **values)
        return PREVIEW_MARK.decode() + page

    def _thumbnail(self, record: Record) -> str | None:
        name = record.stimulus_id
        if name in self._thumbnails:
            return self._thumbnails[name]
        try:
            return webp(decode_png(self._folder.png(name)), THUMBNAIL_PX)
        except (OSError, StimgenError):  # somebody removed it
            return None


def curve(points: Sequence[tuple[int, float]]) -> dict[str, Any] | None:
    """Return relative distances over time as lines in a box of 600 by 120, broken where a stage ends.

    Parameters
    ----------
    points
        Stage and distance, in their order; thinned out to `MOST_POINTS`.

    Returns
    -------
    dict or None
        `lines`, each the points of an SVG polyline, and the `highest` and `lowest` distance, which are at the
        upper and lower edge of a logarithmic axis; None if there are no two points to connect.
    """
    step = max(math.ceil(len(points) / MOST_POINTS), 1)
    kept = [(stage, distance) for stage, distance in points[::step] if 0 < distance < math.inf]
    if len(kept) < 2:
        return None
    highest = max(distance for _, distance in kept)
    lowest = min(distance for _, distance in kept)
    span = math.log(highest / lowest) or 1.0
    lines: dict[int, list[str]] = {}
    for place, (stage, distance) in enumerate(kept):
        x, y = 600 * place / (len(kept) - 1), 120 * math.log(highest / distance) / span
        lines.setdefault(stage, []).append(f"{x:.1f},{y:.1f}")
    return {"lines": [" ".join(line) for line in lines.values()], "highest": highest, "lowest": lowest}


def open_in_browser(page: Path, say: Callable[[str], None]) -> None:
    """Open a page in the user's browser without waiting for it, and say where the page is.

    Without a display nothing is opened: Python would start a browser in the terminal.
    """
    address = page.absolute().as_uri()
    if not _has_display():
        say(f"Preview: {address} (not opened: there is no display here)")
        return
    say(f"Preview: {address}")

    def open_page() -> None:
        try:
            opened = webbrowser.open(address)
        except Exception:  # a thread must not end with a traceback among the bars
            LOGGER.exception("no browser")
            opened = False
        if not opened:
            say("No browser could be started; open the preview by its address.")

    # Some browsers are waited for until they are closed.
    threading.Thread(target=open_page, daemon=True).start()


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
