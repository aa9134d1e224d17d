"""What a user sees while a run works."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from stimgen.manifest.resolved import Manifest
from stimgen.networks.architectures import NETWORKS
from stimgen.runs.batches import Batch
from stimgen.runs.record import Record
from stimgen.runs.tables import Failure
from stimgen.texture.scales import layers_at


class Progress:
    """A bar with the time left on a terminal, and a line per finished stimulus; nothing when quiet.

    The bar counts operations and not stimuli, because a deep layer set takes many times as long as a
    shallow one.

    Parameters
    ----------
    quiet
        Show nothing.
    console
        Where to write; standard error by default.

    Attributes
    ----------
    flops
        Operations done in synthesis.
    seconds
        Time spent in batches that synthesise.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, quiet=quiet)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bars.add_task("starting", total=None)
        self._stimuli = self._finished = 0
        self._shown = 0.0  # operations that the bar shows
        self._per_evaluation: dict[int, float] = {}
        self.flops = 0.0
        self.seconds = 0.0

    @contextlib.contextmanager
    def run(self, manifest: Manifest, batches: Sequence[Batch], stimuli: int) -> Iterator[None]:
        """Show the bar while `batches` are made, of which `stimuli` are not done yet."""
        self._stimuli = stimuli
        self._bars.update(self._task, total=sum(batch_flops(manifest, batch) for batch in batches))
        with self._bars:
            yield

    @contextlib.contextmanager
    def batch(self, manifest: Manifest, batch: Batch) -> Iterator[None]:
        """Count what is done inside as part of `batch`."""
        first, *others = (stimulus.stimulus_id for stimulus in batch.stimuli)
        more = f" and {len(others)} more" if others else ""
        self._bars.update(self._task, description=f"{self._finished + 1}/{self._stimuli}  {first}{more}")
        self._per_evaluation = evaluation_flops(manifest, batch)
        started, end = time.perf_counter(), self._shown + batch_flops(manifest, batch)
        yield
        if batch.stimuli[0].layer_set is not None:
            self.seconds += time.perf_counter() - started
        self._shown = end  # the optimiser may have stopped before its budget
        self._bars.update(self._task, completed=self._shown)

    def evaluation(self, size_px: int, problems: int) -> None:
        """Count one evaluation of loss and gradient."""
        flops = problems * self._per_evaluation[size_px]
        self.flops += flops
        self._shown += flops
        self._bars.update(self._task, completed=self._shown)

    def stimulus(self, record: Record) -> None:
        """Say that a stimulus is done, and how near it came to its source."""
        matched = [d.gram_relative for d in record.distances if d.stage == "file" and d.constrained]
        distance = f"relative Gram distance up to {max(matched):.3f}, " if matched else ""
        self._line(f"{record.stimulus_id}  {distance}{record.made.seconds:.1f} s")

    def failure(self, failure: Failure) -> None:
        """Say that a stimulus could not be made."""
        self._line(f"{failure.stimulus_id}  FAILED: {failure.error}", "red")

    def _line(self, text: str, style: str | None = None) -> None:
        self._finished += 1
        place = f"{self._finished:>{len(str(self._stimuli))}}/{self._stimuli}"
        # As it is: an error's brackets are no markup, and a log file has no edge to wrap at.
        self._console.print(
            f"{place}  {text}", style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
        )


def evaluation_flops(manifest: Manifest, batch: Batch) -> dict[int, float]:
    """Return, by scale, the operations of one evaluation of one problem of a batch.

    A batch computes all layers that any of its problems has at that scale.
    """
    architecture, full_px = NETWORKS[batch.network.name](), manifest.image.size_px
    flops = {}
    for size_px, _ in manifest.synthesis.schedule(full_px):
        layers = {
            layer
            for stimulus in batch.stimuli
            if stimulus.layer_set
            for layer in layers_at(architecture, stimulus.layer_set.layers, size_px, full_px)
        }
        # Backward costs as much as forward: only the image's gradient is needed.
        flops[size_px] = 2 * architecture.forward_flops(layers, size_px) if layers else 0.0
    return flops


def batch_flops(manifest: Manifest, batch: Batch) -> float:
    """Return the operations that a batch takes if it uses its whole budget."""
    flops = evaluation_flops(manifest, batch)
    schedule = manifest.synthesis.schedule(manifest.image.size_px)
    return len(batch.stimuli) * sum(evaluations * flops[size_px] for size_px, evaluations in schedule)
