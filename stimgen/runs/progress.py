"""The progress of a run: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from stimgen.counting import counted
from stimgen.errors import printable
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import Batch, BatchWork, batch_work
from stimgen.runs.record import Record
from stimgen.runs.run_state import (
    BatchState,
    RunState,
    Watcher,
    clock_time,
    descent,
    percent,
    rate,
    summary,
    time_left,
)
from stimgen.runs.steps import Step
from stimgen.runs.tables import Failure

if TYPE_CHECKING:
    from torch import Tensor

    from stimgen.texture.problem import Evaluation

LOGGER = logging.getLogger("stimgen")

LOOK_EVERY_S = 0.5
"""Shortest time between two readings of the losses, in seconds. Each reading makes a GPU wait."""
LINE_EVERY_S = 60.0
"""Time between two lines on the state of the run, where there are no bars."""
LEAST_S = 3.0
"""Seconds of progress after which the time left is stated."""
SPEED_OVER_S = 600.0
"""Seconds over which the speed is averaged."""


class Progress(Bars):
    """Bars on a terminal, elsewhere a line per minute, and a line per finished stimulus; nothing when quiet.

    Progress is counted in floating-point operations and not in stimuli, because a deep layer set takes many
    times as long as a shallow one (`stimgen.runs.batches`). All events also go to the logger `stimgen`.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # FORCE_COLOR does not count: bars in a log file are of no use.
        terminal = sys.stderr is not None and sys.stderr.isatty()
        console = console or Console(stderr=True, quiet=quiet, force_terminal=terminal)
        self._has_bars = not quiet and console.is_terminal and not console.is_dumb_terminal
        # Before the bars are drawn for the first time.
        self._clock, self._began, self.state = clock, 0.0, RunState()
        self._width = min(max(console.width // 5, 8), 40)
        super().__init__(
            console=console, refresh_per_second=4, speed_estimate_period=SPEED_OVER_S, get_time=clock
        )
        self.watcher: Watcher | None = None
        self.flops = self.seconds = 0.0
        self._looked = self._last_line = 0.0
        self._moving_since: float | None = None
        self._steps: Mapping[str, Step] = {}
        self._work: dict[Batch, float] = {}
        self._finished_work, self._unfinished = 0.0, 0
        self._current: BatchWork | None = None
        self._lowest: Tensor | None = None
        self._sent: dict[int, Batch] = {}
        self._shares: dict[int, float] = {}  # of batches that workers have; written by another thread
        self._speeds: dict[str, tuple[float, float]] = {}  # seconds and work of workers, by kind of batch

    @contextlib.contextmanager
    def run(
        self,
        manifest: Manifest,
        batches: Sequence[Batch],
        steps: Mapping[str, Step],
        *,
        shared: bool,
        reached: Mapping[str, tuple[int, int]],
    ) -> Iterator[None]:
        """Show the progress while `batches` are made, with what has to be done for stimuli that are not done.

        `shared` and `reached` are as in `stimgen.runs.batches.batch_work`.
        """
        self._steps = steps
        new = [b for b in batches if any(steps.get(s.stimulus_id) == "synthesise" for s in b.stimuli)]
        work = dict.fromkeys(batches, 0.0)
        work |= {b: batch_work(manifest, b, shared=shared, reached=reached) for b in new}
        self._work = work if any(work.values()) else dict.fromkeys(batches, 1.0)
        self._unfinished = len(batches)
        self.state = RunState(stimuli=len(steps))
        self._run = self.add_task("", total=sum(self._work.values()) or 1.0)
        self._began = self._last_line = self._clock()
        LOGGER.info(
            "run", extra={"manifest": str(manifest.path), "stimuli": len(steps), "batches": len(batches)}
        )
        self._look()
        with self._live():
            yield
            self._look()

    @contextlib.contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Count what is done inside as part of `batch`."""
        first, *others = (stimulus.stimulus_id for stimulus in batch.stimuli)
        LOGGER.info("batch", extra={"stimulus_ids": [first, *others]})
        name = f"{first} and {len(others)} more" if others else first
        self.state.batch = BatchState(name)
        self._current, self._lowest = BatchWork(batch, self._work[batch]), None
        started, flops = self._clock(), self.flops
        self._look()
        yield
        if self.flops > flops:
            self.seconds += self._clock() - started
        self._current = self.state.batch = None
        self._finish(batch)
        self._look()

    def evaluation(self, evaluation: Evaluation) -> None:
        """Count one evaluation of loss and gradient of as many problems as there are losses."""
        assert self._current is not None, "evaluations belong to a batch"
        self.flops += self._current.add(evaluation)
        if self._has_bars or self.watcher is not None:
            # On the device, without waiting for it. fmin ignores losses that are NaN.
            before = evaluation.losses if self._lowest is None or evaluation.number == 1 else self._lowest
            self._lowest = before.fmin(evaluation.losses)
        if self._clock() - self._looked >= LOOK_EVERY_S:
            self._read(evaluation)
            self._look()

    def sent(self, number: int, batch: Batch) -> None:
        """Count a batch as sent to a worker; several may be under way at once."""
        LOGGER.info("sent", extra={"batch": number, "stimulus_ids": [s.stimulus_id for s in batch.stimuli]})
        self._shares.pop(number, None)
        self._sent[number] = batch
        self.waiting()

    def reported(self, number: int, share: float) -> None:
        """Take the share of a batch that a worker has done, 0 to 1."""
        self._shares[number] = share

    def completed(self, number: int, batch: Batch, seconds: float | None) -> None:
        """Count a batch as finished by a worker in `seconds`; None if the worker did not make it."""
        del self._sent[number]
        if seconds is not None:
            kind, work = self._kind(batch)
            total_s, total = self._speeds.get(kind, (0.0, 0.0))
            self._speeds[kind] = total_s + seconds, total + work
        self._finish(batch)
        self.waiting()

    def waiting(self) -> None:
        """Show the state of the run while nothing else happens."""
        if self._clock() - self._looked >= LOOK_EVERY_S:
            self._look()

    def expected_s(self, batch: Batch) -> float | None:
        """Return the seconds that a worker takes for a batch, from finished ones; None before the first."""
        kind, work = self._kind(batch)
        seconds, done = self._speeds.get(kind, (0.0, 0.0))
        return work * seconds / done if done else None

    def note(self, text: str) -> None:
        """Write a line that is not about one stimulus."""
        LOGGER.warning("note", extra={"text": text})
        self._say(text)

    def stimulus(self, record: Record) -> None:
        """Write that a stimulus is done, and for a texture its largest remaining Gram distance."""
        residual = None if record.synthesis is None else record.synthesis.residual_gram
        extra = {"stimulus_id": record.stimulus_id, "png_sha256": record.png_sha256}
        LOGGER.info("stimulus", extra=extra | {"residual_gram": residual, "seconds": record.made.seconds})
        if self.watcher is not None:
            self.watcher.stimulus(record)
        distance = "" if residual is None else f"relative Gram distance up to {residual:.3f}, "
        if record.synthesis and record.matching.settings.asked and not record.synthesis.confined_to:
            distance += "matched after the synthesis, "
        again = {"match": "matched again", "measure": "measured again"}
        step = self._steps.get(record.stimulus_id, "synthesise")
        self._line(f"{record.stimulus_id}  {distance}{again.get(step, f'{record.made.seconds:.1f} s')}")

    def failure(self, failure: Failure, error: BaseException | None = None) -> None:
        """Write that a stimulus could not be made; the log has the traceback of the exception."""
        LOGGER.error("failure", exc_info=error, extra=vars(failure))
        self.state.failed += 1
        if self.watcher is not None:
            self.watcher.failure(failure)
        self._line(f"{failure.stimulus_id}  FAILED: {failure.error}", "red")

    def _line(self, text: str, style: str | None = None) -> None:
        self.state.finished += 1
        stimuli = str(self.state.stimuli)
        self._say(f"{self.state.finished:>{len(stimuli)}}/{stimuli}  {text}", style)
        self._look()

    def _say(self, text: str, style: str | None = None) -> None:
        # As it is: brackets in an error are not markup, and a log file has no edge to wrap at.
        self.console.print(
            printable(text), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def _kind(self, batch: Batch) -> tuple[str, float]:
        """Return a name for batches whose time is proportional to their work, and the work of this one."""
        control = batch.stimuli[0].control
        return "" if control is None else control.name, self._work[batch] or 1.0

    def _finish(self, batch: Batch) -> None:
        self._finished_work += self._work[batch]
        self._unfinished -= 1

    def _read(self, evaluation: Evaluation) -> None:
        """Take over the stage of the batch, and its losses if they are shown."""
        batch = self.state.batch
        assert batch is not None, "evaluations belong to a batch"
        for name in ("stage", "stages", "size_px", "number", "most"):
            setattr(batch, name, getattr(evaluation, name))
        if self._lowest is not None:
            # The only place that waits for the device.
            import torch

            losses, zeros = torch.stack((self._lowest, evaluation.zero_losses)).tolist()
            batch.loss = max(losses)
            ratios = [lowest / zero for lowest, zero in zip(losses, zeros, strict=True) if zero > 0]
            batch.distance = max(ratios) ** 0.5 if ratios else None

    def _look(self) -> None:
        """Bring the state up to date, and show it."""
        now = self._looked = self._clock()
        task, state, work = self._tasks[self._run], self.state, self._finished_work
        begun = [(self._work[b], self._shares[n]) for n, b in self._sent.items() if n in self._shares]
        work += sum(part * share for part, share in begun)
        if self._current is not None and state.batch is not None:
            work += self._current.done
            state.batch.share = self._current.share
        total = task.total or 0.0
        # Sums are rounded, and only a run that is done is at 100 %.
        self.update(self._run, completed=min(work, 0.999 * total) if self._unfinished else total)
        if task.completed > 0 and self._moving_since is None:
            self._moving_since = now
        state.share, state.elapsed_s = task.completed / total, now - self._began
        if self._sent or self._speeds:
            state.batch = BatchState(f"{counted(len(begun), 'worker', 'workers')} at work", state.share)
        stated = task.finished or (self._moving_since is not None and now - self._moving_since >= LEAST_S)
        state.left_s = task.time_remaining if stated else None
        made = state.finished - state.failed
        state.per_minute = 60 * made / state.elapsed_s if made and state.elapsed_s > 0 else None
        if self.watcher is not None:
            self.watcher.show(self.state)
        if not self._has_bars and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._say(summary(self.state))

    def _live(self) -> contextlib.AbstractContextManager[object]:
        return self if self._has_bars else contextlib.nullcontext()

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield a bar for the run and one for the batch, and below them the stage of its synthesis."""
        state, batch = self.state, self.state.batch
        failed = Text(f", {state.failed} failed" if state.failed else "", style="red")
        gone = f"{clock_time(self._clock() - self._began)} gone"  # the clock goes on between two updates
        more = ", ".join(filter(None, (gone, time_left(state.left_s), rate(state.per_minute))))
        text = Text.assemble(f"{state.finished}/{state.stimuli} stimuli", failed, f", {more}")
        bars = Table.grid(*(Column(no_wrap=True, overflow="ellipsis") for _ in range(3)), padding=(0, 1))
        for share, line in ((state.share, text), *([(batch.share, Text(batch.name))] if batch else [])):
            bars.add_row(ProgressBar(1.0, share, self._width), percent(share), line)
        yield bars
        if batch is not None and (stage := descent(batch)):
            yield Text(f"  {stage}", style="dim", no_wrap=True, overflow="ellipsis")
