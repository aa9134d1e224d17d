"""What a user sees while a run works."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.live import Live
from torch import Tensor

from stimgen.counting import counted
from stimgen.errors import printable
from stimgen.manifest.resolved import Manifest
from stimgen.runs.bars import Bars
from stimgen.runs.batches import Batch
from stimgen.runs.joint_pace import JointPace
from stimgen.runs.pace import Pace, evaluation_flops
from stimgen.runs.record import Record
from stimgen.runs.standing import BatchStanding, Standing, Watcher, summary
from stimgen.runs.tables import Failure
from stimgen.texture.problem import Evaluation

LOGGER = logging.getLogger("stimgen")

LOOK_EVERY_S = 0.5
"""Shortest time between two looks at the losses, in seconds: each makes a GPU wait."""
LINE_EVERY_S = 60.0
"""Time between two lines on how far the run is, where there are no bars."""


class Progress:
    """Bars on a terminal, elsewhere a line per minute, and a line per finished stimulus; nothing when quiet.

    What is done is counted in operations and not in stimuli, because a deep layer set takes many times as
    long as a shallow one (`stimgen.runs.pace`). What happens goes to the logger `stimgen` too, also when
    quiet.

    Parameters
    ----------
    quiet
        Show nothing.
    console
        Where to write; standard error by default.
    clock
        Returns seconds.

    Attributes
    ----------
    watcher
        Who is told as well, also when quiet; nobody at first.
    flops
        Operations done in synthesis.
    seconds
        Time spent in batches that synthesise.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Whether there is a terminal is not for FORCE_COLOR to say: bars in a file are of no use.
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._console = console or Console(stderr=True, quiet=quiet, force_terminal=terminal)
        self._has_bars = not quiet and self._console.is_terminal and not self._console.is_dumb_terminal
        self.watcher: Watcher | None = None
        self._clock = clock
        self._pace = Pace()
        self._joint: JointPace | None = None
        self._stimuli = self._finished = self._failed = 0
        self._began = self._looked = self._last_line = 0.0
        self._network = ""
        self._batch: BatchStanding | None = None
        self._lowest: Tensor | None = None
        self._standing = self._stands()
        self.flops = 0.0
        self.seconds = 0.0

    @contextlib.contextmanager
    def run(
        self,
        manifest: Manifest,
        batches: Sequence[Batch],
        to_make: Collection[str],
        *,
        shared: bool,
        reached: Mapping[str, tuple[int, int]],
    ) -> Iterator[None]:
        """Show how far it is while `batches` are made.

        Parameters
        ----------
        manifest, batches
            What is made.
        to_make
            Ids of the stimuli in the batches that are not done yet.
        shared
            Whether the problems of a batch share their passes, as they do on a GPU.
        reached
            Size and rung of the last stage in the checkpoint of a stimulus, by its id.
        """
        self._stimuli = len(to_make)
        self._pace.begin(manifest, batches, to_make, shared=shared, reached=reached)
        self._began = self._last_line = self._clock()
        LOGGER.info(
            "run", extra={"manifest": str(manifest.path), "stimuli": len(to_make), "batches": len(batches)}
        )
        self._look(self._began)
        with self._live():
            yield
            self._look(self._clock())

    @contextlib.contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Count what is done inside as part of `batch`."""
        first, *others = (stimulus.stimulus_id for stimulus in batch.stimuli)
        LOGGER.info("batch", extra={"stimulus_ids": [first, *others]})
        self._batch = BatchStanding(f"{first} and {len(others)} more" if others else first)
        self._lowest = None
        synthesised = batch.stimuli[0].synthesised
        if synthesised is not None:
            self._network = synthesised.network.name
        started = self._clock()
        self._pace.enter(batch, started)
        self._look(started)
        yield
        ended = self._clock()
        if synthesised is not None:
            self.seconds += ended - started
        self._pace.leave(ended)
        self._batch = None
        self._look(ended)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Count one evaluation of loss and gradient of as many problems as there are losses."""
        now = self._clock()
        self.flops += len(evaluation.losses) * evaluation_flops(
            self._network, evaluation.layers, evaluation.size_px
        )
        self._pace.evaluated(evaluation, self._network, now)
        if self._has_bars or self.watcher is not None:
            # On the device, without waiting for it; a loss that is not finite counts as none.
            before = evaluation.losses if self._lowest is None or evaluation.number == 1 else self._lowest
            self._lowest = torch.fmin(before, evaluation.losses)
        if now - self._looked >= LOOK_EVERY_S:
            self._read(evaluation)
            self._look(now)

    def sent(self, number: int, batch: Batch) -> None:
        """Count a batch as given to a worker; from then on, several may be under way at once."""
        if self._joint is None:
            self._joint = JointPace(self._pace.costs, self._clock)
        LOGGER.info("sent", extra={"batch": number, "stimulus_ids": [s.stimulus_id for s in batch.stimuli]})
        self._joint.sent(number, batch)
        self._look_sometimes()

    def told(self, number: int, share: float) -> None:
        """Take how much of a batch a worker has done, 0 to 1."""
        if self._joint is not None:
            self._joint.told(number, share)

    def landed(self, number: int, batch: Batch, seconds: float | None) -> None:
        """Count a batch as finished by a worker, in so many seconds; None if it could not be made."""
        if self._joint is not None:
            self._joint.landed(number, batch, seconds)
        self._look_sometimes()

    def waiting(self) -> None:
        """Show where the run stands while nothing else happens."""
        self._look_sometimes()

    def expected_s(self, batch: Batch) -> float | None:
        """Return how long a worker takes for a batch, by those that have ended; None before."""
        return None if self._joint is None else self._joint.expected_s(batch)

    def note(self, text: str) -> None:
        """Say something that is no stimulus."""
        LOGGER.warning("note", extra={"text": text})
        self._say(text)

    def stimulus(self, record: Record) -> None:
        """Say that a stimulus is done, and a texture how near it came to what it was to match."""
        distance = ""
        if record.synthesis is not None:
            distance = f"relative Gram distance up to {record.synthesis.residual_gram:.3f}, "
        residual = None if record.synthesis is None else record.synthesis.residual_gram
        LOGGER.info(
            "stimulus",
            extra={
                "stimulus_id": record.stimulus_id,
                "png_sha256": record.png_sha256,
                "residual_gram": residual,
                "seconds": record.made.seconds,
            },
        )
        if self.watcher is not None:
            self.watcher.stimulus(record)
        self._line(f"{record.stimulus_id}  {distance}{record.made.seconds:.1f} s")

    def failure(self, failure: Failure) -> None:
        """Say that a stimulus could not be made; the log has the traceback of the exception at hand."""
        LOGGER.error("failure", exc_info=True, extra=vars(failure))
        self._failed += 1
        if self.watcher is not None:
            self.watcher.failure(failure)
        self._line(f"{failure.stimulus_id}  FAILED: {failure.error}", "red")

    def _line(self, text: str, style: str | None = None) -> None:
        self._finished += 1
        self._say(f"{self._finished:>{len(str(self._stimuli))}}/{self._stimuli}  {text}", style)
        now = self._clock()
        self._pace.made(now)
        self._look(now)

    def _say(self, text: str, style: str | None = None) -> None:
        # As it is: an error's brackets are no markup, and a log file has no edge to wrap at.
        self._console.print(
            printable(text), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def _read(self, evaluation: Evaluation) -> None:
        """Take over where the batch stands; the losses too, if anybody is to see them."""
        if self._batch is None:
            return
        loss = distance = None
        if self._lowest is not None:
            # The only place where a device is waited for.
            losses, zeros = torch.stack((self._lowest, evaluation.zero_losses)).tolist()
            loss = max(losses)
            ratios = [lowest / zero for lowest, zero in zip(losses, zeros, strict=True) if zero > 0]
            distance = max(ratios) ** 0.5 if ratios else None
        self._batch = replace(
            self._batch,
            stage=evaluation.stage,
            stages=evaluation.stages,
            size_px=evaluation.size_px,
            number=evaluation.number,
            most=evaluation.most,
            loss=loss,
            distance=distance,
        )

    def _look_sometimes(self) -> None:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY_S:
            self._look(now)

    def _look(self, now: float) -> None:
        """Show where the run stands."""
        self._looked = now
        self._standing = self._stands()
        if self.watcher is not None:
            self.watcher.show(self._standing)
        if not self._has_bars and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._say(summary(self._standing))

    def _stands(self) -> Standing:
        elapsed = self._clock() - self._began
        made = self._finished - self._failed
        batch = self._batch and replace(self._batch, share=self._pace.batch_share)
        of_stimuli = self._finished / self._stimuli if self._stimuli else 0.0
        joint = self._joint
        if joint is not None:
            busy = counted(joint.busy, "worker", "workers")
            batch = BatchStanding(f"{busy} at work", share=joint.share)
        return Standing(
            share=(joint or self._pace).share if self._pace.total else of_stimuli,
            finished=self._finished,
            failed=self._failed,
            stimuli=self._stimuli,
            elapsed_s=elapsed,
            left_s=(joint or self._pace).seconds_left(),
            per_minute=60 * made / elapsed if made and elapsed > 0 else None,
            batch=batch,
        )

    def _live(self) -> contextlib.AbstractContextManager[object]:
        if not self._has_bars:
            return contextlib.nullcontext()
        return Live(get_renderable=self._bars, console=self._console, refresh_per_second=4)

    def _bars(self) -> Bars:
        """Return what a thread of its own draws: the last standing, and a clock that goes on."""
        return Bars(replace(self._standing, elapsed_s=self._clock() - self._began))
