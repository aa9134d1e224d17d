"""Run a manifest: make what is not done, keep what is, write the tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stimgen.counting import counted
from stimgen.manifest.plan import check_paths, plan
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.speed import record_speed, speed_name
from stimgen.runs.batches import plan_batches
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.executor import Executor, LocalExecutor
from stimgen.runs.interrupts import interruptible
from stimgen.runs.job import Job
from stimgen.runs.load import load_run
from stimgen.runs.measured_again import find_done
from stimgen.runs.preparation import prepare
from stimgen.runs.progress import Progress
from stimgen.runs.results import Results
from stimgen.runs.shards import remove_shards
from stimgen.runs.store import RunFolder
from stimgen.runs.strangers import Strangers, both, find_strangers, remove_strangers
from stimgen.runs.tables import Failure
from stimgen.runs.trial_lists import write_trial_lists

SPEED_NEEDS_S = 10.0
"""Shortest synthesis, in seconds, that says how fast a device is."""


@dataclass(frozen=True)
class RunResult:
    """What a run did.

    Attributes
    ----------
    folder
        The run folder.
    made, kept
        Numbers of stimuli made now, and found done.
    rejected
        How many of both exceed a threshold of the manifest's section `accept`.
    failures
        What could not be made.
    strangers
        Names of PNG files and records in the folder that this run does not ask for.
    trial_lists
        Trial lists that were written: all of the manifest's, but none if stimuli could not be made.
    changed_lists
        Names of those that an earlier run had written with other content.
    removed
        Files that were removed because the manifest does not ask for them, relative to the folder.
    """

    folder: Path
    made: int
    kept: int
    rejected: int
    failures: tuple[Failure, ...]
    strangers: tuple[str, ...]
    trial_lists: tuple[Path, ...] = ()
    changed_lists: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def run(
    manifest: Manifest,
    *,
    out: Path | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress | None = None,
    prune: Strangers | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Make all stimuli of a manifest that are not done yet.

    Parameters
    ----------
    manifest
        A loaded manifest.
    out
        Run folder; by default `Manifest.output`.
    device
        "auto" (the first GPU if there is one), "cpu", or "cuda:N".
    batch_size
        Most textures synthesised at once; by default 1 on a CPU, and what fits on a GPU.
    progress
        Display; none by default.
    prune
        What to remove in the end if the manifest does not ask for it, from `find_strangers`; nothing is
        removed if stimuli could not be made.
    executor
        Who makes the batches; by default this process, on `device`.

    Raises
    ------
    StimgenError
        If the run could not start: unreadable sources, missing weights, no such device, a folder that
        cannot be written or is in use. A single stimulus that fails does not raise.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, when the file being written and the tables are written.
    InputError
        If a trial list cannot be made because too few stimuli are accepted; all else is done then.
    """
    progress = progress or Progress(quiet=True)
    executor = executor or LocalExecutor(device)
    folder = RunFolder((out or manifest.output).absolute())
    stimuli = plan(manifest)
    check_paths(folder.path, stimuli)
    prepared = prepare(manifest, executor.device)
    hashes = prepared.recipes()
    checkpoints = RunCheckpoints(folder.checkpoints, executor.made_with)
    folder.prepare()
    with folder.locked(), interruptible() as interrupts:
        folder.prepare(len(stimuli))
        # Workers may be asked, and nobody else's run must notice.
        batches = plan_batches(manifest, stimuli, batch_size or executor.batch_size(prepared))
        done = find_done(prepared, stimuli, hashes, folder, executor.device, interrupts, progress)
        remaining = [b for b in batches if any(s.stimulus_id not in done for s in b.stimuli)]
        to_make = {stimulus_id: hash_ for stimulus_id, hash_ in hashes.items() if stimulus_id not in done}
        by_recipe = checkpoints.keep_only(hashes.values(), to_make.values())
        reached = {name: by_recipe[hash_] for name, hash_ in hashes.items() if hash_ in by_recipe}
        folder.remove_preview()
        remove_shards(folder)
        job = Job(prepared, hashes, folder, progress, checkpoints, interrupts, done)
        with interrupts.held():
            results = Results(folder, prepared, stimuli, batches, executor, done, bool(remaining))
            # Before anything is made again, so that no table ever describes an image that is gone.
            results.write()
        if remaining:
            note_replaced(folder, to_make, progress)
            try:
                with (
                    progress.run(manifest, remaining, to_make, shared=executor.shared, reached=reached),
                    contextlib.closing(executor.make(job, remaining, progress)) as made,
                ):
                    for failures in made:
                        results.failures += failures
            except KeyboardInterrupt:
                progress.note("Interrupted: the tables are being written.")
                with interrupts.held():
                    results.write()
                raise
            _record_speed(manifest, executor.device, progress)
            with interrupts.held():
                results.write()
        lists: tuple[Path, ...] = ()
        lists_before = folder.noted_lists()
        if manifest.trials and not results.failures:
            # The files were compared with their records above.
            finished = load_run(folder.path, check_hashes=False)
            with interrupts.held():
                lists = write_trial_lists(finished, manifest.trials)
        noted = folder.noted_lists()
        changed = tuple(name for name, of in lists_before.items() if noted.get(name, of) != of)
        folder.remove_checkpoints()
        planned = {s.stimulus_id for s in stimuli}
        removed: tuple[str, ...] = ()
        if prune and not results.failures:
            now = find_strangers(folder, planned, {spec.id for spec in manifest.trials})
            with interrupts.held():
                removed = remove_strangers(folder, both(now, prune))
        strangers = folder.strange_names(planned)
    return RunResult(
        folder.path,
        len(done) - results.kept,
        results.kept,
        results.rejected,
        tuple(results.failures),
        strangers,
        lists,
        changed,
        removed,
    )


def note_replaced(folder: RunFolder, to_make: Iterable[str], progress: Progress) -> None:
    """Say how many PNG files that are there a run replaces, and why."""
    there = [name for name in to_make if folder.png(name).exists()]
    without = sum(not folder.record(name).exists() for name in there)
    replaced = len(there) - without
    if replaced:
        progress.note(
            f"{counted(replaced)} there {'was' if replaced == 1 else 'were'} made with other settings, or "
            "altered: replaced. (Another --out would keep what is there.)"
        )
    if without:
        progress.note(f"{counted(without, 'PNG file', 'PNG files')} there without a record: made again.")


def _record_speed(manifest: Manifest, device: str, progress: Progress) -> None:
    """Keep the speed for later estimates, if the run was not too short to tell."""
    if progress.seconds < SPEED_NEEDS_S:
        return
    # Estimates can do without it, and a home folder may be read-only.
    with contextlib.suppress(OSError):
        record_speed(speed_name(device, manifest.synthesis), progress.flops / progress.seconds / 1e9)
