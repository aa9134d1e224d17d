"""Run a manifest, or one shard of it: make what is not done, keep what is, write down the results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stimgen.counting import counted
from stimgen.errors import InputError
from stimgen.manifest.plan import Stimulus, check_paths, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.interrupts import Interrupts, interruptible
from stimgen.runs.load import load_run
from stimgen.runs.outlook import known_recipes
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import measured_with
from stimgen.runs.results import Results, describes, manifest_contents
from stimgen.runs.shards import Shard, remove_shards, shard_locked
from stimgen.runs.store import RunFolder, sha256
from stimgen.runs.tables import Failure
from stimgen.runs.trial_lists import write_trial_lists
from stimgen.runs.unplanned import Unplanned, find_unplanned, remove_unplanned

if TYPE_CHECKING:
    from stimgen.runs.batches import Batch
    from stimgen.runs.executor import Executor
    from stimgen.runs.preparation import Preparation

SPEED_NEEDS_S = 10.0
"""Shortest synthesis, in seconds, from which the speed of a device is estimated."""


@dataclass(frozen=True)
class RunResult:
    """What a run did."""

    folder: Path
    made: int
    kept: int
    rejected: int
    failures: tuple[Failure, ...]
    unplanned: tuple[str, ...] = ()
    trial_lists: tuple[Path, ...] = ()
    changed_lists: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


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
    progress = progress or Progress(quiet=True)
    folder = RunFolder((out or manifest.output).absolute())
    stimuli = plan(manifest)
    check_paths(folder.path, stimuli)
    maker = Maker(manifest, stimuli, shard, batch_size, device, executor)
    hashes = known_recipes(manifest, folder, stimuli) if shard is None else None
    if hashes is None or len(hashes) < len(stimuli):
        hashes = maker.recipes
    folder.prepare()
    with _locked(folder, maker), interruptible() as interrupts:
        folder.prepare(len(stimuli))
        asked = measured_with(manifest)
        done, stale = folder.all_finished({s.stimulus_id: hashes[s.stimulus_id] for s in maker.own}, asked)
        if stale or (len(done) < len(maker.own) and hashes is not maker.recipes):
            from stimgen.runs.make import measure_all_again

            hashes = maker.recipes
            own = {stimulus.stimulus_id: hashes[stimulus.stimulus_id] for stimulus in maker.own}
            done, stale = folder.all_finished(own, asked)
            try:
                measured = measure_all_again(maker.prepared, stale, folder, interrupts)
            except KeyboardInterrupt:
                progress.note("Interrupted: the tables are being written.")
                with interrupts.held():
                    Results(folder, maker, folder.all_finished(own, asked)[0]).write()
                raise
            # What cannot be measured again is made again.
            done = {name: one for name, one in done.items() if name not in {r.stimulus_id for r in stale}}
            done |= measured
            if stale:
                progress.note(
                    f"{counted(len(measured))} measured again: other statistics are asked for. "
                    "The images are kept."
                )
        if shard is None:
            fingerprint = folder.fingerprint({name: one.png_sha256 for name, one in done.items()})
            described = describes(folder.read_summary(), manifest, done.values(), fingerprint)
            if len(done) < len(maker.own) or not described:
                # Devices, weights and workers that are missing end the run before anything is written.
                _ = maker.made_with
            folder.remove_preview()
            remove_shards(folder)
        results = Results(folder, maker, done)
        with interrupts.held():
            # Before anything is made again, so that no table ever describes an image that is gone.
            results.write()
        if len(done) < len(maker.own):
            _make(maker, folder, hashes, results, interrupts, progress)
        if shard is not None:
            return RunResult(folder.path, results.made, results.kept, 0, tuple(results.failures))
        return _finish(manifest, folder, stimuli, results, interrupts, prune)


@dataclass
class Maker:
    """What makes stimuli; PyTorch, sources and weights are loaded when they are first needed."""

    manifest: Manifest
    planned: list[Stimulus]
    shard: Shard | None
    batch_size: int | None
    device: str
    given_executor: Executor | None

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
    def recipes(self) -> dict[str, str]:
        """Hashes of all recipes of the plan, by stimulus id."""
        return self.prepared.recipes()

    @cached_property
    def batches(self) -> list[Batch]:
        """The batches of the plan, or of the shard."""
        from stimgen.runs.batches import plan_batches

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


@contextlib.contextmanager
def _locked(folder: RunFolder, maker: Maker) -> Iterator[None]:
    """Keep other runs out, but for shards of the same manifest in the same batches."""
    if maker.shard is None:
        with folder.locked():
            yield
    else:
        resolved = sha256(manifest_contents(folder, maker.manifest)["manifest.resolved.yaml"])
        with shard_locked(folder, maker.shard, f"{resolved}, batches of {maker.batch_size or 1}"):
            yield


def _make(
    maker: Maker,
    folder: RunFolder,
    hashes: dict[str, str],
    results: Results,
    interrupts: Interrupts,
    progress: Progress,
) -> None:
    """Make the missing stimuli, and write the results."""
    from stimgen.runs.checkpoints import RunCheckpoints
    from stimgen.runs.job import Job

    executor = maker.executor
    names = [stimulus.stimulus_id for stimulus in maker.own]
    to_make = {name: hashes[name] for name in names if name not in results.done}
    checkpoints = RunCheckpoints(folder.checkpoints, executor.made_with)
    reached: dict[str, tuple[int, int]] = {}
    if maker.shard is None:
        _note_replaced(folder, to_make, progress)
        # Checkpoints of a shard lie beside those of the others, which are not this shard's to remove.
        by_recipe = checkpoints.keep_only(hashes.values(), to_make.values())
        reached = {name: by_recipe[hash_] for name, hash_ in hashes.items() if hash_ in by_recipe}
    batches = [b for b in maker.batches if any(s.stimulus_id in to_make for s in b.stimuli)]
    job = Job(maker.prepared, hashes, folder, progress, checkpoints, interrupts, results.done)
    try:
        with (
            progress.run(maker.manifest, batches, to_make, shared=executor.shared, reached=reached),
            contextlib.closing(executor.make(job, batches, progress)) as made,
        ):
            for failures in made:
                results.failures += failures
    except KeyboardInterrupt:
        progress.note("Interrupted: the tables are being written.")
        with interrupts.held():
            results.write()
        raise
    _record_speed(maker.manifest, executor.device, progress)
    with interrupts.held():
        results.write()


def _finish(
    manifest: Manifest,
    folder: RunFolder,
    stimuli: list[Stimulus],
    results: Results,
    interrupts: Interrupts,
    prune: Unplanned | None,
) -> RunResult:
    """Write the trial lists, and remove what is no longer needed."""
    lists: tuple[Path, ...] = ()
    lists_before = folder.noted_lists()
    if manifest.trials and not results.failures:
        # The files were compared with their records above.
        finished = load_run(folder.path, check_hashes=False)
        with interrupts.held():
            lists = write_trial_lists(finished, manifest.trials)
    lists_now = folder.noted_lists()
    folder.remove_checkpoints()
    planned = {s.stimulus_id for s in stimuli}
    removed: tuple[str, ...] = ()
    if prune and not results.failures:
        # Only what was there when the user was asked, and is still what it was.
        now = find_unplanned(folder, planned, {spec.id for spec in manifest.trials})
        with interrupts.held():
            removed = remove_unplanned(folder, now.only(prune))
    return RunResult(
        folder.path,
        results.made,
        results.kept,
        results.rejected,
        tuple(results.failures),
        folder.unplanned_names(planned),
        lists,
        tuple(name for name, before in lists_before.items() if lists_now.get(name, before) != before),
        removed,
    )


def _note_replaced(folder: RunFolder, missing: Iterable[str], progress: Progress) -> None:
    """Tell the user how many existing PNG files a run replaces, and why."""
    existing = [name for name in missing if folder.png(name).exists()]
    without = sum(not folder.record(name).exists() for name in existing)
    replaced = len(existing) - without
    if replaced:
        progress.note(
            f"{counted(replaced)} there {'was' if replaced == 1 else 'were'} made with other settings, or "
            "altered: replaced. (Another --out would keep what is there.)"
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
