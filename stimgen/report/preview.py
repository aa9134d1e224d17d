"""The preview: a page in the run folder that shows a run while it works, written again every few seconds."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from stimgen.atomic import write_file
from stimgen.errors import StimgenError
from stimgen.images.png import decode_png
from stimgen.report import templates
from stimgen.report.images import webp
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
"""Points of the curve; of more, some are left out."""


class Preview:
    """Writes the preview of a run, as its `stimgen.runs.run_state.Watcher`; no error here ends the run."""

    def __init__(
        self,
        folder: RunFolder,
        title: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._title, self._say, self._clock = folder, title, say, clock
        self._environment = templates()
        words = {"clock": clock_time, "left": time_left, "rate": rate, "percent": percent, "descent": descent}
        self._environment.filters |= words
        self._written = -math.inf
        self._begun = self._complained = False
        self._standing: RunState | None = None
        self._records: deque[Record] = deque(maxlen=MOST_SHOWN)
        self._failures: deque[Failure] = deque(maxlen=MOST_SHOWN)
        self._thumbnails: dict[str, str | None] = {}
        self._distances: list[tuple[str, int, float]] = []  # batch, stage, relative distance

    def show(self, standing: RunState) -> None:
        """Take the state of the run, and write the page if it is time to; at first, open it in a browser."""
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
        self._records.append(record)

    def failure(self, failure: Failure) -> None:
        """Take a stimulus that could not be made."""
        self._failures.append(failure)

    def end(self, outcome: str, report: Path | None = None) -> None:
        """Write the last version, which says how the run ended and leads to its report if there is one."""
        if self._begun:
            self._write(outcome, report)

    def _write(self, outcome: str, report: Path | None) -> bool:
        try:
            if self._folder.has_other_preview():
                raise FileExistsError(f"{self._folder.preview} is no preview of stimgen's")
            page = PREVIEW_MARK.decode() + self._page(outcome, report)
            write_file(self._folder.preview, page.encode("utf-8", "replace"))
        except Exception as error:
            if not self._complained:
                LOGGER.exception("no preview")
                self._say(f"The preview cannot be written ({error}); the run goes on.")
            self._complained = True
            return False
        return True

    def _page(self, outcome: str, report: Path | None) -> str:
        if report is not None:
            template = self._environment.get_template("preview_end.html")
            return template.render(title=self._title, report=report.name, outcome=outcome)
        newest = list(reversed(self._records))
        by_condition: dict[str, list[Record]] = {}
        thumbnails: dict[str, str | None] = {}
        for record in newest:
            by_condition.setdefault(record.condition, []).append(record)
            name = record.stimulus_id
            thumbnails[name] = self._thumbnails.get(name)
            if name not in self._thumbnails:
                with contextlib.suppress(OSError, StimgenError):  # somebody removed it
                    thumbnails[name] = webp(decode_png(self._folder.png(name)), THUMBNAIL_PX)
        self._thumbnails = thumbnails
        return self._environment.get_template("preview.html").render(
            title=self._title,
            standing=self._standing,
            outcome=outcome,
            folder=str(self._folder.path),
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            every_s=EVERY_S,
            by_condition=by_condition,
            thumbnails=self._thumbnails,
            shown=len(newest),
            failures=list(reversed(self._failures)),
            curve=curve([(stage, distance) for _, stage, distance in self._distances]),
            side=THUMBNAIL_PX,
        )


def curve(points: Sequence[tuple[int, float]]) -> dict[str, Any] | None:
    """Return pairs of stage and relative distance as `lines` in a box of 600 by 120, one for each stage.

    Each is the points of an SVG polyline. The `highest` and `lowest` distance are at the upper and lower edge
    of a logarithmic axis. Of fewer than two points there is no curve.
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

    Without a display nothing is opened, because Python would start a browser in the terminal.
    """
    address = page.absolute().as_uri()
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform not in ("win32", "darwin") and not any(os.environ.get(name) for name in displays):
        say(f"Preview: {address} (not opened: there is no display here)")
        return
    say(f"Preview: {address}")

    def open_page() -> None:
        try:
            opened = webbrowser.open(address)
        except Exception:  # a traceback would be shown among the bars
            LOGGER.exception("no browser")
            opened = False
        if not opened:
            say("No browser could be started; open the preview by its address.")

    # Some browsers return only when they are closed.
    threading.Thread(target=open_page, daemon=True).start()
