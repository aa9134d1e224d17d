"""Run a manifest: make what is not done, keep what is, write the tables."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from stimgen.controls import CONTROLS
from stimgen.counting import counted
from stimgen.errors import InputError
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import Stimulus, check_paths, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.speed import record_speed, speed_name
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.device import find_device
from stimgen.runs.acceptance import reasons_to_reject
from stimgen.runs.batch_size import default_batch_size
from stimgen.runs.batches import measured_layers, plan_batches
from stimgen.runs.checkpoints import RunCheckpoints
from stimgen.runs.environment import device_name, rounding, versions
from stimgen.runs.fingerprint import stimuli_sha256
from stimgen.runs.interrupts import interruptible
from stimgen.runs.job import Job
from stimgen.runs.load import load_run
from stimgen.runs.make import set_reference
from stimgen.runs.networks import Networks
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import recipe, recipe_sha256
from stimgen.runs.record import Record
from stimgen.runs.store import FORMAT, LASTING, RunFolder, sha256, write_atomically
from stimgen.runs.strangers import Strangers, both, find_strangers, remove_strangers
from stimgen.runs.tables import Failure, write_tables
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
    where = find_device(device)
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()  # every stimulus needs it, and would fail only when it is made
    folder = RunFolder((out or manifest.output).absolute())
    stimuli = plan(manifest)
    check_paths(folder.path, stimuli)
    sources = load_sources(manifest)
    check_controls(manifest, sources.values())
    networks = Networks(manifest, str(where))
    hashes = {s.stimulus_id: _recipe_hash(manifest, s, sources, networks) for s in stimuli}
    batches = plan_batches(manifest, stimuli, batch_size or default_batch_size(manifest, networks, where))
    the_set = set_reference(manifest, sources)
    checkpoints = RunCheckpoints(folder.checkpoints, rounding(where))
    folder.prepare()
    with folder.locked(), interruptible() as interrupts:
        started = datetime.now(UTC)
        records = {
            s.stimulus_id: record
            for s in stimuli
            if (record := folder.finished(s.stimulus_id, hashes[s.stimulus_id]))
        }
        kept = len(records)
        failures: list[Failure] = []
        remaining = [b for b in batches if any(s.stimulus_id not in records for s in b.stimuli)]
        to_make = {stimulus_id: hash_ for stimulus_id, hash_ in hashes.items() if stimulus_id not in records}
        by_recipe = checkpoints.keep_only(hashes.values(), to_make.values())
        reached = {name: by_recipe[hash_] for name, hash_ in hashes.items() if hash_ in by_recipe}
        folder.remove_preview()
        job = Job(manifest, sources, networks, hashes, folder, progress, the_set, checkpoints, interrupts)

        def write_results() -> None:
            ordered = [records[s.stimulus_id] for s in stimuli if s.stimulus_id in records]
            write_tables(folder, ordered, failures, manifest.accept)
            rejected = _count_rejected(manifest, ordered)
            fingerprint = stimuli_sha256((record.filename, record.png_sha256) for record in ordered)
            before = folder.read_summary()
            # With nothing to make, the summary stays that of the run that made the stimuli.
            summary = {}
            if not remaining and describes(before, manifest, ordered, fingerprint):
                # It may have been killed before it could say how many it made.
                summary = before | {"made": len(stimuli) - before["kept"]}
            else:
                made = len(records) - kept
                used = dict.fromkeys(batch.network for batch in batches)
                used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in stimuli)
                largest = max(len(batch.stimuli) for batch in batches)
                summary = _summary(manifest, started, len(stimuli), made, kept, len(failures), rejected)
                summary |= {"device": device_name(where), "batch_size": largest}
                summary |= {"networks": [networks.record(n).model_dump() for n in used]}
                summary |= {"versions": versions()}
            summary |= {"failed": len(failures), "rejected": rejected, "stimuli_sha256": fingerprint}
            summary |= {
                "overrides": dict(manifest.overrides),
                "manifest_sha256": manifests,
                "trial_lists": folder.noted_lists(),
            }
            write_atomically(folder.path / "run.json", json.dumps(summary, indent=2) + "\n")

        with interrupts.held():
            manifests = _write_manifests(folder, manifest)
            # Before anything is made again, so that no table ever describes an image that is gone.
            write_results()
        if remaining:
            note_replaced(folder, to_make, progress)
            try:
                shared = where.type != "cpu"
                with progress.run(manifest, remaining, to_make, shared=shared, reached=reached):
                    for batch in remaining:
                        with progress.batch(batch):
                            failures += job.make(batch, records)
            except KeyboardInterrupt:
                progress.note("Interrupted: the tables are being written.")
                with interrupts.held():
                    write_results()
                raise
            _record_speed(manifest, where, progress)
            with interrupts.held():
                write_results()
        lists: tuple[Path, ...] = ()
        lists_before = folder.noted_lists()
        if manifest.trials and not failures:
            # The files were compared with their records above.
            finished = load_run(folder.path, check_hashes=False)
            with interrupts.held():
                lists = write_trial_lists(finished, manifest.trials)
        noted = folder.noted_lists()
        changed = tuple(name for name, of in lists_before.items() if noted.get(name, of) != of)
        checkpoints.keep_only((), ())
        planned = {s.stimulus_id for s in stimuli}
        removed: tuple[str, ...] = ()
        if prune and not failures:
            now = find_strangers(folder, planned, {spec.id for spec in manifest.trials})
            with interrupts.held():
                removed = remove_strangers(folder, both(now, prune))
        strangers = folder.strange_names(planned)
    rejected = _count_rejected(manifest, records.values())
    return RunResult(
        folder.path, len(records) - kept, kept, rejected, tuple(failures), strangers, lists, changed, removed
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


def load_sources(manifest: Manifest) -> dict[str, Source]:
    """Load all sources by id.

    Raises
    ------
    InputError
        With everything that is wrong with any of them.
    """
    sources: dict[str, Source] = {}
    errors: list[str] = []
    for source in manifest.sources:
        try:
            sources[source.id] = load_source(source, manifest.image, name=manifest.name)
        except InputError as error:
            errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))
    return sources


def check_controls(manifest: Manifest, sources: Iterable[Source]) -> None:
    """Raise InputError with every source that a control can make nothing of, or what it cannot do without.

    Raises
    ------
    StimgenError
        If a control needs what is not installed.
    InputError
        If a source does not suit a control.
    """
    errors: list[str] = []
    for control in {spec.name: CONTROLS[spec.name] for spec in manifest.controls}.values():
        if control.prepare:
            control.prepare()
        if control.check_source is None:
            continue
        for source in sources:
            try:
                control.check_source(source)
            except InputError as error:
                errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))


def _recipe_hash(
    manifest: Manifest, stimulus: Stimulus, sources: dict[str, Source], networks: Networks
) -> str:
    measured = measured_layers(manifest, measuring_network(manifest, stimulus))
    return recipe_sha256(recipe(manifest, stimulus, sources, networks.weights, measured))


def _summary(
    manifest: Manifest, started: datetime, stimuli: int, made: int, kept: int, failed: int, rejected: int
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": manifest.name,
        "overrides": dict(manifest.overrides),
        "stimuli": stimuli,
        "made": made,
        "kept": kept,
        "failed": failed,
        "rejected": rejected,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _count_rejected(manifest: Manifest, records: Iterable[Record]) -> int:
    return sum(bool(reasons_to_reject(record, manifest.accept)) for record in records)


def describes(
    summary: Mapping[str, Any], manifest: Manifest, records: Sequence[Record], fingerprint: str
) -> bool:
    """Return whether the summary of an earlier run is about these very stimuli, which are all there are."""
    counts = (summary.get("made"), summary.get("kept"))
    if any(type(count) is not int or not 0 <= count <= len(records) for count in counts):
        return False
    if any(not isinstance(summary.get(key), kind) for key, kind in LASTING.items()):
        return False
    networks = [one for one in summary["networks"] if isinstance(one, dict)]
    named = {(one.get("name"), one.get("tensors_sha256")) for one in networks}
    used = {
        (one.name, one.tensors_sha256) for record in records for one in (record.network, record.measured_in)
    }
    if not used <= named:
        return False
    # A run that was killed had counted fewer.
    same = summary["made"] + summary["kept"] < len(records) or summary["stimuli_sha256"] == fingerprint
    return same and (summary.get("name"), summary.get("stimuli")) == (manifest.name, len(records))


def _write_manifests(folder: RunFolder, manifest: Manifest) -> dict[str, str]:
    """Write the manifest as given and with nothing left open; return the SHA-256 of both."""
    resolved: dict[str, Any] = manifest.resolved(folder.path)
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    contents = {"manifest.yaml": manifest.content, "manifest.resolved.yaml": text.encode()}
    for name, content in contents.items():
        write_atomically(folder.path / name, content)
    return {name: sha256(content) for name, content in contents.items()}


def _record_speed(manifest: Manifest, device: torch.device, progress: Progress) -> None:
    """Keep the speed for later estimates, if the run was not too short to tell."""
    if progress.seconds < SPEED_NEEDS_S:
        return
    # Estimates can do without it, and a home folder may be read-only.
    with contextlib.suppress(OSError):
        record_speed(speed_name(str(device), manifest.synthesis), progress.flops / progress.seconds / 1e9)
