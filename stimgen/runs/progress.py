"""What a user sees while a run works."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from functools import cache

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from torch import Tensor

from stimgen.manifest.resolved import Manifest
from stimgen.networks.architectures import NETWORKS
from stimgen.runs.batches import Batch
from stimgen.runs.record import Record
from stimgen.runs.tables import Failure
from stimgen.texture.schedule import Stage, stages

LOGGER = logging.getLogger("stimgen")


class Progress:
    """A bar with the time left on a terminal, and a line per finished stimulus; nothing when quiet.

    The bar counts operations and not stimuli, because a deep layer set takes many times as long as a
    shallow one. All of it goes to the logger `stimgen` too, also when quiet.

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
        self._costs: dict[Batch, float] = {}
        self._network = ""
        self.flops = 0.0
        self.seconds = 0.0

    @contextlib.contextmanager
    def run(
        self, manifest: Manifest, batches: Sequence[Batch], stimuli: int, *, shared: bool
    ) -> Iterator[None]:
        """Show the bar while `batches` are made, of which `stimuli` are not done yet.

        `shared` says whether the problems of a batch share their passes, as they do on a GPU.
        """
        self._stimuli = stimuli
        self._costs = {batch: batch_flops(manifest, batch, shared=shared) for batch in batches}
        self._bars.update(self._task, total=sum(self._costs.values()))
        LOGGER.info(
            "run", extra={"manifest": str(manifest.path), "stimuli": stimuli, "batches": len(batches)}
        )
        with self._bars:
            yield

    @contextlib.contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Count what is done inside as part of `batch`."""
        first, *others = (stimulus.stimulus_id for stimulus in batch.stimuli)
        LOGGER.info("batch", extra={"stimulus_ids": [first, *others]})
        more = f" and {len(others)} more" if others else ""
        self._bars.update(self._task, description=f"{self._finished + 1}/{self._stimuli}  {first}{more}")
        synthesised = batch.stimuli[0].synthesised
        if synthesised is not None:
            self._network = synthesised.network.name
        started, end = time.perf_counter(), self._shown + self._costs[batch]
        yield
        if synthesised is not None:
            self.seconds += time.perf_counter() - started
        self._shown = end  # the optimiser may have stopped before its budget
        self._bars.update(self._task, completed=self._shown)

    def evaluation(self, size_px: int, layers: tuple[str, ...], losses: Tensor) -> None:
        """Count one evaluation of loss and gradient of as many problems as there are losses."""
        flops = len(losses) * evaluation_flops(self._network, layers, size_px)
        self.flops += flops
        self._shown += flops
        self._bars.update(self._task, completed=self._shown)

    def note(self, text: str) -> None:
        """Say something that is no stimulus."""
        LOGGER.warning("note", extra={"text": text})
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

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
        self._line(f"{record.stimulus_id}  {distance}{record.made.seconds:.1f} s")

    def failure(self, failure: Failure) -> None:
        """Say that a stimulus could not be made; the log has the traceback of the exception at hand."""
        LOGGER.error("failure", exc_info=True, extra=vars(failure))
        self._line(f"{failure.stimulus_id}  FAILED: {failure.error}", "red")

    def _line(self, text: str, style: str | None = None) -> None:
        self._finished += 1
        place = f"{self._finished:>{len(str(self._stimuli))}}/{self._stimuli}"
        # As it is: an error's brackets are no markup, and a log file has no edge to wrap at.
        self._console.print(
            f"{place}  {text}", style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
        )


@cache
def evaluation_flops(network: str, layers: tuple[str, ...], size_px: int) -> float:
    """Return the operations of one evaluation of loss and gradient of one problem.

    Backward costs as much as forward: only the image's gradient is needed.
    """
    return 2 * NETWORKS[network]().forward_flops(layers, size_px)


def batch_flops(manifest: Manifest, batch: Batch, *, shared: bool) -> float:
    """Return the operations that a batch takes if it uses its whole budget.

    With shared passes, every problem that is active in a stage pays for all layers there.
    """
    layer_sets = [stimulus.synthesised for stimulus in batch.stimuli if stimulus.synthesised]
    if not layer_sets:
        return 0.0
    network, full_px = layer_sets[0].network.name, manifest.image.size_px  # a batch has one network
    by_step: dict[tuple[int, int], list[Stage]] = {}
    for layer_set in layer_sets:
        for stage in stages(manifest.synthesis, NETWORKS[network](), layer_set.layers, full_px):
            by_step.setdefault((stage.size_px, stage.rung), []).append(stage)
    total = 0.0
    for (size_px, _), together in by_step.items():
        union = tuple(dict.fromkeys(layer for stage in together for layer in stage.layers))
        for stage in together:
            used = union if shared else stage.layers
            total += stage.evaluations * evaluation_flops(network, used, size_px)
    return total
