"""Run a manifest, or one shard of it: make what is not done, keep what is, write down the results.

What a run has to do for each stimulus is said in `stimgen.runs.steps`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stimgen.counting import counted
from stimgen.errors import InputError
from stimgen.manifest.plan import Stimulus, check_paths, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import Batch, plan_batches
from stimgen.runs.interrupts import Interrupts, interruptible
from stimgen.runs.load import load_run
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import known_recipes, steps_in_words
from stimgen.runs.record import Recipe
from stimgen.runs.results import (
    Shard,
    ShardNote,
    counts,
    describes,
    fingerprint,
    manifest_contents,
    now,
    read_note,
    remove_shards,
    shard_locked,
    write_manifests,
    write_summary,
)
from stimgen.runs.steps import Done, Step, all_steps, read_done
from stimgen.runs.store import RunFolder, sha256, write_atomically
from stimgen.runs.tables import Failure, write_tables
from stimgen.runs.trial_lists import write_trial_lists
from stimgen.runs.unplanned import Unplanned, find_unplanned, remove_unplanned

if TYPE_CHECKING:
    from stimgen.runs.executor import Executor
    from stimgen.runs.preparation import Preparation

SPEED_NEEDS_S = 10.0
"""Shortest synthesis, in seconds, from which the speed of a device is estimated."""


@dataclass(frozen=True)
class RunResult:
    """What a run did: how many stimuli were made, kept, matched again and measured again."""

    folder: Path
    made: int
    kept: int
    rejected: int
    failures: tuple[Failure, ...]
    matched: int = 0
    measured: int = 0
    unplanned: tuple[str, ...] = ()
    trial_lists: tuple[Path, ...] = ()
    changed_lists: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def stimuli(self) -> int:
        """How many stimuli there are."""
        return self.made + self.matched + self.measured + self.kept

    @property
    def in_words(self) -> str:
        """What was done, for example "2 made, 1 matched again, 3 kept, 0 failed"."""
        again = {"matched": self.matched, "measured": self.measured}
        parts = [f"{count} {done} again" for done, count in again.items() if count]
        return ", ".join([f"{self.made} made", *parts, f"{self.kept} kept", f"{len(self.failures)} failed"])


def run(
    manifest: Manifest,
    *,
    shard: Shard | None = None,
    out: Path | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress | None = None,
    prune: Unplanned | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Make all stimuli of a manifest, or of one shard of it, that are not done yet.

    PyTorch, sources and weights are loaded only if something has to be made.
    """
    folder, progress = RunFolder((out or manifest.output).absolute()), progress or Progress(quiet=True)
    making = Making(manifest, plan(manifest), shard, folder, device, batch_size, executor, progress)
    check_paths(folder.path, making.planned)
    known = known_recipes(manifest, folder, making.planned) if shard is None else None
    making.recipes = known if known and len(known) == len(making.planned) else making.loaded_recipes
    folder.prepare()
    with making.locked(), interruptible() as making.interrupts:
        folder.prepare(len(making.planned))
        making.find_done()
        if making.missing and making.recipes != making.loaded_recipes:
            making.recipes = making.loaded_recipes
            making.find_done()
        if shard is None:
            if making.missing or not describes(folder.read_summary(), manifest, folder, making.done):
                # Devices, weights and workers that are missing end the run before anything is written.
                _ = making.made_with
            folder.remove_preview()
            remove_shards(folder)
        # Before anything is made again, so that no table ever describes an image that is gone.
        making.write()
        if making.missing:
            making.make()
        if shard is not None:
            return making.result()
        return making.finish(prune)


@dataclass
class Making:
    """A run at work: what it makes, what is done, and how that is written down.

    PyTorch, sources and weights are loaded when they are first needed.
    """

    manifest: Manifest
    planned: list[Stimulus]
    shard: Shard | None
    folder: RunFolder
    device: str
    batch_size: int | None
    given_executor: Executor | None
    progress: Progress
    recipes: dict[str, Recipe] = field(default_factory=dict)  # by stimulus id
    interrupts: Interrupts = field(default_factory=Interrupts)
    done: dict[str, Done] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)  # of what was not done
    failures: list[Failure] = field(default_factory=list)
    rejected: int = 0
    _manifests: dict[str, str] = field(default_factory=dict)  # their SHA-256, when they are written
    _started: str = ""
    _nothing_to_make: bool = False

    @cached_property
    def executor(self) -> Executor:
        """What makes the batches."""
        from stimgen.runs.executor import LocalExecutor

        executor = self.given_executor or LocalExecutor(self.device)
        if self.shard and executor.shared and self.batch_size is None and self.manifest.layer_sets:
            raise InputError(
                "A shard on a GPU needs --batch-size: all shards must divide the manifest in the same way.",
                "Give all shards the same, such as --batch-size 16; stimgen run without --shard says what "
                "fits on this card.",
            )
        return executor

    @cached_property
    def prepared(self) -> Preparation:
        """Sources and networks."""
        from stimgen.runs.preparation import prepare

        return prepare(self.manifest, self.executor.device)

    @cached_property
    def loaded_recipes(self) -> dict[str, Recipe]:
        """All recipes of the plan, by stimulus id, from sources and weights."""
        return self.prepared.recipes()

    @cached_property
    def batches(self) -> list[Batch]:
        """The batches of the plan, or of the shard."""
        size = self.batch_size or (1 if self.shard else self.executor.batch_size(self.prepared))
        batches = plan_batches(self.manifest, self.planned, size)
        return self.shard.of(batches) if self.shard else batches

    @cached_property
    def own(self) -> list[Stimulus]:
        """The stimuli of the plan, or of the batches of the shard."""
        if self.shard is None:
            return self.planned
        return [stimulus for batch in self.batches for stimulus in batch.stimuli]

    @property
    def missing(self) -> bool:
        """Whether something has to be made."""
        return len(self.done) < len(self.own)

    def count(self, *steps: Step) -> int:
        """Return of how many stimuli these steps are done."""
        return sum(self.steps.get(name, "keep") in steps for name in self.done)

    @property
    def made(self) -> int:
        """How many PNG files were written in this run."""
        return self.count("match", "synthesise")

    @property
    def kept(self) -> int:
        """How many PNG files are those that were there before."""
        return self.count("keep", "measure")

    @property
    def made_with(self) -> dict[str, Any]:
        """The devices so far, networks and versions that make and measure these stimuli, for run.json."""
        from stimgen.runs.environment import versions

        used = dict.fromkeys(batch.network for batch in self.batches)
        used |= dict.fromkeys(measuring_network(self.manifest, stimulus) for stimulus in self.own)
        return {
            "device": self.executor.device_name,
            "batch_size": max((len(batch.stimuli) for batch in self.batches), default=1),
            "networks": [self.prepared.networks.record(network).model_dump() for network in used],
            "versions": versions(),
        }

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs out, but for shards of the same manifest in the same batches."""
        if self.shard is None:
            return self.folder.locked()
        resolved = sha256(manifest_contents(self.folder, self.manifest)["manifest.resolved.yaml"])
        return shard_locked(self.folder, self.shard, f"{resolved}, batches of {self.batch_size or 1}")

    def find_done(self) -> None:
        """Find out what is done, and what has to be done for the rest."""
        own = {stimulus.stimulus_id: self.recipes[stimulus.stimulus_id] for stimulus in self.own}
        self.done, self.steps = all_steps(self.folder, own)

    def make(self) -> None:
        """Make the missing stimuli, and write the results."""
        from stimgen.runs.checkpoints import RunCheckpoints
        from stimgen.runs.job import Job

        executor, folder, steps = self.executor, self.folder, self.steps
        new = [name for name, step in steps.items() if step == "synthesise"]
        checkpoints = RunCheckpoints(folder.checkpoints, executor.made_with)
        reached: dict[str, tuple[int, int]] = {}
        if self.shard is None:
            _note_replaced(folder, new, self.progress)
            # Checkpoints of a shard lie beside those of the others, which are not this shard's to remove.
            own = {name: recipe.optimised for name, recipe in self.recipes.items()}
            by_recipe = checkpoints.keep_only(own.values(), [own[name] for name in new])
            reached = {name: by_recipe[hash_] for name, hash_ in own.items() if hash_ in by_recipe}
        if len(new) < len(steps):
            counts = Counter[Step](steps.values())
            counts["keep"] = len(self.done)
            self.progress.note(f"Stimuli {steps_in_words(counts)}.")
        batches = [b for b in self.batches if any(s.stimulus_id in steps for s in b.stimuli)]
        job = Job(self.prepared, self.recipes, folder, self.progress, checkpoints, self.interrupts, self.done)
        with (
            self._written_if_interrupted(),
            self.progress.run(self.manifest, batches, steps, shared=executor.shared, reached=reached),
            contextlib.closing(executor.make(job, batches, self.progress)) as made,
        ):
            for failures in made:
                self.failures += failures
        _record_speed(self.manifest, executor.device, self.progress)
        self.write()

    @contextlib.contextmanager
    def _written_if_interrupted(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self.progress.note("Interrupted: the tables are being written.")
            self.write()
            raise

    def write(self) -> None:
        """Write what is known now: manifests, tables and run.json, or the note of a shard."""
        with self.interrupts.held():
            if not self._manifests:
                self._started, self._nothing_to_make = now(), not self.missing
                self._manifests = write_manifests(self.folder, self.manifest)
            if self.shard is None:
                self._write_tables()
            else:
                self._write_note(self.shard)

    def _write_tables(self) -> None:
        folder, manifest = self.folder, self.manifest
        records = read_done(folder, [stimulus.stimulus_id for stimulus in self.planned], self.done)
        self.rejected = write_tables(folder, records, self.failures, manifest.accept)
        before = folder.read_summary()
        # With nothing to make, the summary stays that of the run that made the stimuli.
        if self._nothing_to_make and describes(before, manifest, folder, self.done):
            # It may have been killed before it could count all that it made.
            summary = before | {"made": len(self.planned) - before["kept"]}
        else:
            summary = self._counts() | self.made_with
        summary |= {
            "failed": len(self.failures),
            "rejected": self.rejected,
            "stimuli_sha256": fingerprint(folder, self.done),
            "overrides": dict(manifest.overrides),
            "manifest_sha256": self._manifests,
            "trial_lists": folder.noted_lists(),
        }
        write_summary(folder, summary)

    def _write_note(self, shard: Shard) -> None:
        """Write the note of a shard, unless it says all this already."""
        path = shard.note(self.folder)
        before = read_note(path)
        same = before and (before.made + before.kept, before.manifest_sha256) == (self.kept, self._manifests)
        if same and not self.missing and not self.made:
            return
        about = {"shard": str(shard), "manifest_sha256": self._manifests, "failures": self.failures}
        note = ShardNote.model_validate(about | self._counts() | self.made_with)
        write_atomically(path, note.model_dump_json(indent=1) + "\n")

    def _counts(self) -> dict[str, Any]:
        return counts(self.manifest, self._started, len(self.own), self.made, self.kept)

    def finish(self, prune: Unplanned | None) -> RunResult:
        """Write the trial lists, and remove what is no longer needed."""
        folder, manifest, interrupts = self.folder, self.manifest, self.interrupts
        lists: tuple[Path, ...] = ()
        lists_before = folder.noted_lists()
        if manifest.trials and not self.failures:
            # The files were compared with their records above.
            finished = load_run(folder.path, check_hashes=False)
            with interrupts.held():
                lists = write_trial_lists(finished, manifest.trials)
        lists_now = folder.noted_lists()
        folder.remove_checkpoints()
        planned = {stimulus.stimulus_id for stimulus in self.planned}
        removed: tuple[str, ...] = ()
        if prune and not self.failures:
            # Only what was there when the user was asked, and is still what it was.
            found = find_unplanned(folder, planned, {spec.id for spec in manifest.trials})
            with interrupts.held():
                removed = remove_unplanned(folder, found.only(prune))
        return replace(
            self.result(),
            unplanned=folder.unplanned_names(planned),
            trial_lists=lists,
            changed_lists=tuple(
                name for name, before in lists_before.items() if lists_now.get(name, before) != before
            ),
            removed=removed,
        )

    def result(self) -> RunResult:
        """Return what was done to stimuli."""
        matched, measured = self.count("match"), self.count("measure")
        made, kept = self.made - matched, self.kept - measured
        return RunResult(self.folder.path, made, kept, self.rejected, tuple(self.failures), matched, measured)


def _note_replaced(folder: RunFolder, missing: Iterable[str], progress: Progress) -> None:
    """Tell the user how many existing PNG files a run replaces, and why."""
    existing = [name for name in missing if folder.png(name).exists()]
    without = sum(not folder.record(name).exists() for name in existing)
    replaced = len(existing) - without
    if replaced:
        progress.note(
            f"{counted(replaced)} there {'was' if replaced == 1 else 'were'} made with other settings, or "
            "altered, or without the image before matching: replaced. (Another --out would keep them.)"
        )
    if without:
        progress.note(f"{counted(without, 'PNG file', 'PNG files')} there without a record: made again.")


def _record_speed(manifest: Manifest, device: str, progress: Progress) -> None:
    """Keep the speed for later estimates, if the run was not too short to tell."""
    from stimgen.manifest.estimate import record_speed, speed_name

    if progress.seconds < SPEED_NEEDS_S:
        return
    # Estimates can do without it, and a home folder may be read-only.
    with contextlib.suppress(OSError):
        record_speed(speed_name(device, manifest.synthesis), progress.flops / progress.seconds / 1e9)
