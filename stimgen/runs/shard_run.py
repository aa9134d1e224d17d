"""Make one shard of a run: its stimuli with their records, and a note. The tables come when all are made."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stimgen.errors import InputError
from stimgen.manifest.plan import check_paths, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import plan_batches
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.environment import versions
from stimgen.runs.executor import LocalExecutor
from stimgen.runs.interrupts import interruptible
from stimgen.runs.job import Job
from stimgen.runs.measured_again import find_done
from stimgen.runs.preparation import prepare
from stimgen.runs.progress import Progress
from stimgen.runs.shards import (
    NOTE,
    FailureNote,
    Shard,
    ShardNote,
    read_note,
    shard_locked,
)
from stimgen.runs.store import RunFolder, sha256, write_atomically
from stimgen.runs.summary import manifest_contents, write_manifests
from stimgen.runs.tables import Failure


@dataclass(frozen=True)
class ShardResult:
    """What a shard did.

    Attributes
    ----------
    folder
        The run folder.
    made, kept
        Numbers of its stimuli made now, and found done.
    failures
        What could not be made.
    note
        The file that says so.
    """

    folder: Path
    made: int
    kept: int
    failures: tuple[Failure, ...]
    note: Path


def run_shard(
    manifest: Manifest,
    shard: Shard,
    *,
    out: Path | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> ShardResult:
    """Make the stimuli of one shard that are not done yet.

    Parameters
    ----------
    manifest, out, device, progress
        As for `stimgen.runs.runner.run`.
    shard
        Which part of the batches.
    batch_size
        Most textures synthesised at once. On a GPU it must be given, because shards on different cards would
        otherwise divide the manifest differently.

    Raises
    ------
    StimgenError
        As `stimgen.runs.runner.run` does; LockError also if shards of another manifest,
        or with another batch size, are at work there.
    InputError
        If no batch size is given for a GPU.
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, when the file being written is written.
    """
    progress = progress or Progress(quiet=True)
    executor = LocalExecutor(device)
    if executor.shared and batch_size is None and manifest.layer_sets:
        raise InputError(
            "A shard on a GPU needs --batch-size: whatever their cards, all must divide the manifest alike.",
            "stimgen run without --shard says what fits; give all shards the same, such as --batch-size 16.",
        )
    folder = RunFolder((out or manifest.output).absolute())
    stimuli = plan(manifest)
    check_paths(folder.path, stimuli)
    prepared = prepare(manifest, executor.device)
    batches = shard.of(plan_batches(manifest, stimuli, batch_size or 1))
    own = [stimulus for batch in batches for stimulus in batch.stimuli]
    hashes = {stimulus.stimulus_id: prepared.recipe_sha256(stimulus) for stimulus in own}
    resolved = sha256(manifest_contents(folder, manifest)["manifest.resolved.yaml"])
    task = f"{resolved}, batches of {batch_size or 1}"
    folder.prepare()
    with shard_locked(folder, shard, task), interruptible() as interrupts:
        started = datetime.now(UTC)
        folder.prepare(len(stimuli))
        with interrupts.held():
            manifests = write_manifests(folder, manifest)
        done = find_done(prepared, own, hashes, folder, executor.device, interrupts, progress)
        kept = len(done)
        remaining = [batch for batch in batches if any(s.stimulus_id not in done for s in batch.stimuli)]
        checkpoints = RunCheckpoints(folder.checkpoints, executor.made_with)
        job = Job(prepared, hashes, folder, progress, checkpoints, interrupts, done)
        failures: list[Failure] = []
        used = dict.fromkeys(batch.network for batch in batches)
        used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in own)
        path = shard.folder(folder) / NOTE

        def write_note() -> None:
            note = ShardNote(
                shard=str(shard),
                stimuli=len(own),
                made=len(done) - kept,
                kept=kept,
                started=started.isoformat(timespec="seconds"),
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                device=executor.device_name,
                batch_size=max((len(batch.stimuli) for batch in batches), default=1),
                networks=tuple(prepared.networks.record(network) for network in used),
                versions=versions(),
                overrides=dict(manifest.overrides),
                manifest_sha256=manifests,
                failures=tuple(FailureNote(**vars(failure)) for failure in failures),
            )
            with interrupts.held():
                write_atomically(path, note.model_dump_json(indent=1) + "\n")

        before = read_note(path)
        told = before is not None and before.made + before.kept == len(done)
        if remaining or before is None or before.manifest_sha256 != manifests or not told:
            # The manifests in the folder are this shard's from now on, whatever becomes of it.
            write_note()
        if remaining:
            to_make = [name for name in hashes if name not in done]
            try:
                with (
                    progress.run(manifest, remaining, to_make, shared=executor.shared, reached={}),
                    contextlib.closing(executor.make(job, remaining, progress)) as made,
                ):
                    for some in made:
                        failures += some
            finally:
                write_note()
    return ShardResult(folder.path, len(done) - kept, kept, tuple(failures), path)
