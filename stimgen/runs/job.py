"""The making of stimuli, batch by batch: rendered, measured, and kept with their records."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError

from stimgen.bounded import read_file
from stimgen.errors import StimgenError, of_the_machine
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.batches import Batch
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.environment import device_name
from stimgen.runs.interrupts import Interrupts
from stimgen.runs.make import Rendered, finish, made_now, measure_again, render, rendered_before
from stimgen.runs.preparation import Preparation
from stimgen.runs.record import Recipe, Record
from stimgen.runs.steps import Done, Step, finished, next_step, read_image
from stimgen.runs.store import MOST_BYTES, RunFolder, StoreError, write_atomically
from stimgen.runs.tables import Failure
from stimgen.texture.problem import Evaluation

Computed = tuple[Stimulus, tuple[dict[Path, bytes], Record] | Exception]
"""A stimulus, and the images that are to be written, in their order, with its record; or what went wrong."""


class Listener(Protocol):
    """Who is told what happens, as `stimgen.runs.progress.Progress` is."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """Take one evaluation of loss and gradient."""

    def note(self, text: str) -> None:
        """Take what is to be said to the user."""

    def stimulus(self, record: Record) -> None:
        """Take a stimulus that is made."""

    def failure(self, failure: Failure, error: BaseException | None = None) -> None:
        """Take a stimulus that could not be made, and the exception."""


@dataclass(frozen=True)
class Job:
    """What making a batch needs."""

    prepared: Preparation
    recipes: Mapping[str, Recipe]
    folder: RunFolder
    progress: Listener
    checkpoints: RunCheckpoints
    interrupts: Interrupts
    done: dict[str, Done]
    before_writing: Callable[[], None] = lambda: None

    def make(self, batch: Batch, computed: Iterable[Computed] | None = None) -> list[Failure]:
        """Make the stimuli of a batch that are not done, add them to `done`, return failures.

        `computed` is what `compute` returned of the batch, if it was computed ahead.
        """
        failures = []
        for stimulus, outcome in self.compute(batch) if computed is None else computed:
            if isinstance(outcome, Exception):
                failures.append(failure_of(stimulus.stimulus_id, outcome))
                self.progress.failure(failures[-1], outcome)
            else:
                self._keep(stimulus.stimulus_id, *outcome)
        self.checkpoints.forget()
        return failures

    def compute(self, batch: Batch) -> Iterator[Computed]:
        """Compute the stimuli of a batch that are not done, one after the other; write nothing.

        If one is synthesised, all are computed along, so that it comes out the same; the others are kept as
        they are, or go on from what is kept of them.
        """
        wanted = [stimulus for stimulus in batch.stimuli if stimulus.stimulus_id not in self.done]
        names = [stimulus.stimulus_id for stimulus in wanted]
        steps = {name: next_step(self.folder, name, self.recipes[name]) for name in names}
        new = [stimulus for stimulus in wanted if steps[stimulus.stimulus_id][0] == "synthesise"]
        rendered: dict[str, Rendered] = {}
        seconds = 0.0
        if new:
            try:
                self.prepared.networks.extractor(batch.network)  # its weights are no part of the time
                started = time.monotonic()
                images = self._render(batch.stimuli, batch.network)
            except StoreError:
                raise
            except Exception as error:
                yield from ((stimulus, error) for stimulus in new)
                wanted = [stimulus for stimulus in wanted if stimulus not in new]
            else:
                rendered = {s.stimulus_id: image for s, image in zip(batch.stimuli, images, strict=True)}
                # What was done before an interruption took its time as well.
                seconds = (time.monotonic() - started + self.checkpoints.seconds) / len(batch.stimuli)
        for stimulus in wanted:
            name = stimulus.stimulus_id
            before, image = steps[name], rendered.get(name)
            try:
                made = self._finish(stimulus, batch.network, before, image, seconds)
            except Exception as error:
                yield stimulus, error
            else:
                yield stimulus, made

    def _keep(self, name: str, files: Mapping[Path, bytes], record: Record) -> None:
        """Write a stimulus to disk."""
        with self.interrupts.held():
            self.before_writing()
            # Another worker may have made it, one that was taken for dead.
            if other := finished(self.folder, name, self.recipes[name]):
                self.done[name] = Done.of(other)
                return
            # The record says that the stimulus is done: after the images are on disk.
            for path, content in files.items():
                if not _holds(path, content):
                    write_atomically(path, content)
            write_atomically(self.folder.record(name), record.model_dump_json(indent=1) + "\n")
            self.done[name] = Done.of(record)
        self.progress.stimulus(record)

    def _finish(
        self,
        stimulus: Stimulus,
        network: NetworkSpec,
        before: tuple[Step, Record | None],
        new: Rendered | None,
        seconds: float,
    ) -> tuple[dict[Path, bytes], Record]:
        """Return the images of a stimulus that are to be written, in their order, and its record."""
        name, folder, (step, known) = stimulus.stimulus_id, self.folder, before
        recipe, png = self.recipes[name], None
        if step == "synthesise" or known is None:
            assert new is not None, "it was synthesised with its batch"
            rendered, made = new, made_now(self.prepared.networks.extractor(network).device, seconds)
        else:
            if step == "measure":
                png = read_file(folder.png(name), MOST_BYTES)
                if known.recipe_sha256.distances == recipe.distances:
                    return {}, measure_again(self.prepared, stimulus, known, recipe, png)
            file = read_image(folder, known)
            assert file is not None, "it was there a moment ago"
            rendered, made = rendered_before(self.prepared, stimulus, known, file), known.made
        content, record = finish(
            self.prepared,
            stimulus,
            network,
            rendered,
            filename=folder.filename(name),
            recipe=recipe,
            made=made,
            png=png,
        )
        files = {folder.image(name): rendered.file} if step == "synthesise" else {}
        return files | ({folder.png(name): content} if png is None else {}), record

    def _render(self, stimuli: tuple[Stimulus, ...], network: NetworkSpec) -> list[Rendered]:
        """Make float images, in two halves where the device has no memory for all of them at once."""
        try:
            return render(
                self.prepared, stimuli, network, self.progress.evaluation, self.checkpoints, self.recipes
            )
        except torch.OutOfMemoryError:
            if len(stimuli) == 1:
                device = device_name(self.prepared.networks.extractor(network).device)
                raise StimgenError(
                    f"{device} has not enough memory for one stimulus.",
                    "Free its memory, use smaller stimuli or shallower layers, or another --device.",
                ) from None
        half = len(stimuli) // 2
        self.progress.note(
            f"Out of memory with {len(stimuli)} stimuli at once; going on with {half}. "
            f"--batch-size {half} avoids the attempt."
        )
        torch.cuda.empty_cache()
        return self._render(stimuli[:half], network) + self._render(stimuli[half:], network)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and read_file(path, len(content)) == content
    except OSError:
        return False


def failure_of(stimulus_id: str, error: Exception) -> Failure:
    """Return the row of failures.csv for an error: its cause, and what to do about it."""
    known = error if isinstance(error, StimgenError) else of_the_machine(error)
    if known is not None:
        return Failure(stimulus_id, known.problem, known.cure)
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False)
        # A statistic is a number or a truth value: one that is not finite gives two errors.
        if {detail["type"] for detail in details} <= {"finite_number", "bool_type"}:
            types = ("float", "bool")
            names = dict.fromkeys(
                next(part for part in reversed(detail["loc"]) if isinstance(part, str) and part not in types)
                for detail in details
            )
            return Failure(
                stimulus_id,
                f"What was computed is not a finite number: {' '.join(names)}.",
                "Look at the weights of the network, whose numbers may be too large, or try another seed.",
            )
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        stimulus_id,
        f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})",
        "This is unexpected: please report it with the manifest.",
    )
