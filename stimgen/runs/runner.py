"""Run a manifest: make what is not done, keep what is, write the tables."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from stimgen.controls import CONTROLS
from stimgen.errors import InputError, StimgenError
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import NetworkSpec
from stimgen.manifest.speed import record_speed, speed_name
from stimgen.matching.reference import Reference
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.networks.device import find_device
from stimgen.networks.extractor import FeatureExtractor
from stimgen.runs.acceptance import reasons_to_reject
from stimgen.runs.batch_size import default_batch_size
from stimgen.runs.batches import Batch, measured_layers, plan_batches
from stimgen.runs.environment import device_name, versions
from stimgen.runs.fingerprint import stimuli_sha256
from stimgen.runs.load import load_run
from stimgen.runs.make import Rendered, finish, render, set_reference, synthesis_record
from stimgen.runs.networks import Networks
from stimgen.runs.outlook import strange_names
from stimgen.runs.progress import Progress
from stimgen.runs.recipe import recipe, recipe_sha256
from stimgen.runs.record import ImageRecord, MadeRecord, MatchingRecord, Record, ScaleRecord, SourceRecord
from stimgen.runs.statistics import SourceStatistics, source_statistics
from stimgen.runs.store import RunFolder, StoreError, sha256, write_atomically
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
    InputError
        If a trial list cannot be made because too few stimuli are accepted; all else is done then.
    """
    progress = progress or Progress(quiet=True)
    where = find_device(device)
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()  # every stimulus needs it, and would fail only when it is made
    folder = RunFolder((out or manifest.output).absolute())
    sources = load_sources(manifest)
    check_controls(manifest, sources.values())
    stimuli = plan(manifest)
    networks = Networks(manifest, str(where))
    hashes = {s.stimulus_id: _recipe_hash(manifest, s, sources, networks) for s in stimuli}
    batches = plan_batches(manifest, stimuli, batch_size or default_batch_size(manifest, networks, where))
    the_set = set_reference(manifest, sources)
    job = _Job(manifest, sources, networks, hashes, folder, progress, the_set)
    folder.prepare()
    with folder.locked():
        started = datetime.now(UTC)
        records = {
            s.stimulus_id: record
            for s in stimuli
            if (record := folder.finished(s.stimulus_id, hashes[s.stimulus_id]))
        }
        kept = len(records)
        failures: list[Failure] = []
        remaining = [b for b in batches if any(s.stimulus_id not in records for s in b.stimuli)]

        def write_results() -> None:
            ordered = [records[s.stimulus_id] for s in stimuli if s.stimulus_id in records]
            write_tables(folder, ordered, failures, manifest.accept)
            rejected = _count_rejected(manifest, ordered)
            fingerprint = stimuli_sha256((record.filename, record.png_sha256) for record in ordered)
            before = folder.read_summary()
            # With nothing to make, the summary stays that of the run that made the stimuli.
            summary = {} if remaining or not describes(before, manifest, stimuli, fingerprint) else before
            if not summary:
                made = len(records) - kept
                used = dict.fromkeys(batch.network for batch in batches)
                used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in stimuli)
                largest = max(len(batch.stimuli) for batch in batches)
                summary = _summary(manifest, started, len(stimuli), made, kept, len(failures), rejected)
                summary |= {"device": device_name(where), "batch_size": largest}
                summary |= {"networks": [networks.record(n).model_dump() for n in used]}
                summary |= {"versions": versions()}
            summary |= {"failed": len(failures), "rejected": rejected, "stimuli_sha256": fingerprint}
            summary |= {"manifest_sha256": manifests, "trial_lists": before.get("trial_lists", {})}
            write_atomically(folder.path / "run.json", json.dumps(summary, indent=2) + "\n")

        manifests = _write_manifests(folder, manifest)
        # Before anything is made again, so that no table ever describes an image that is gone.
        write_results()
        if remaining:
            replaced = sum(
                s.stimulus_id not in records and folder.png(s.stimulus_id).exists() for s in stimuli
            )
            if replaced:
                progress.note(
                    f"{replaced} stimuli there were made with other settings, or altered: they are replaced. "
                    "(Another --out would keep them.)"
                )
            try:
                with progress.run(manifest, remaining, len(stimuli) - kept, shared=where.type != "cpu"):
                    for batch in remaining:
                        with progress.batch(batch):
                            failures += job.make(batch, records)
            except KeyboardInterrupt:
                write_results()
                raise
            _record_speed(manifest, where, progress)
            write_results()
        lists: tuple[Path, ...] = ()
        if manifest.trials and not failures:
            # The files were compared with their records above.
            lists = write_trial_lists(load_run(folder.path, check_hashes=False), manifest.trials)
        planned = {s.stimulus_id for s in stimuli}
        removed: tuple[str, ...] = ()
        if prune and not failures:
            now = find_strangers(folder, planned, {spec.id for spec in manifest.trials})
            removed = remove_strangers(folder, both(now, prune))
        strangers = strange_names(folder, planned)
    rejected = _count_rejected(manifest, records.values())
    return RunResult(
        folder.path, len(records) - kept, kept, rejected, tuple(failures), strangers, lists, removed
    )


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


@dataclass(frozen=True)
class _Job:
    """What making a batch needs; `source_statistics`, by source, are made when first asked for."""

    manifest: Manifest
    sources: dict[str, Source]
    networks: Networks
    hashes: dict[str, str]
    folder: RunFolder
    progress: Progress
    the_set: Reference
    source_statistics: dict[str, SourceStatistics] = field(default_factory=dict)

    def make(self, batch: Batch, done: dict[str, Record]) -> list[Failure]:
        """Make the stimuli of a batch that are not in `done`, add their records to it, return failures.

        Those that are done are computed along, so that the others come out the same, and kept as they are.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        wanted = [s for s in batch.stimuli if s.stimulus_id not in done]
        try:
            extractor = self.networks.extractor(batch.network)
            started = time.monotonic()
            rendered = self._render(batch.stimuli, extractor)
        except Exception as error:
            return [self._failed(stimulus, error) for stimulus in wanted]
        seconds = (time.monotonic() - started) / len(batch.stimuli)
        failures = []
        for stimulus, image in zip(batch.stimuli, rendered, strict=True):
            if stimulus in wanted:
                try:
                    done[stimulus.stimulus_id] = self._keep(stimulus, batch.network, image, seconds)
                except StoreError:
                    raise
                except Exception as error:
                    failures.append(self._failed(stimulus, error))
        return failures

    def _render(self, stimuli: tuple[Stimulus, ...], extractor: FeatureExtractor) -> list[Rendered]:
        """Make float images, in two halves where the device has no memory for all of them at once."""
        try:
            return render(
                self.manifest,
                stimuli,
                self.sources,
                self.the_set,
                extractor,
                self.networks.bases,
                self.progress.evaluation,
            )
        except torch.OutOfMemoryError:
            if len(stimuli) == 1:
                raise StimgenError(
                    f"{device_name(extractor.device)} has not enough memory for one stimulus.",
                    "Free its memory, use smaller stimuli or shallower layers, or another --device.",
                ) from None
        half = len(stimuli) // 2
        self.progress.note(
            f"Out of memory with {len(stimuli)} stimuli at once; going on with {half}. "
            f"--batch-size {half} avoids the attempt."
        )
        torch.cuda.empty_cache()
        return self._render(stimuli[:half], extractor) + self._render(stimuli[half:], extractor)

    def _keep(self, stimulus: Stimulus, network: NetworkSpec, rendered: Rendered, seconds: float) -> Record:
        """Write the PNG, then the record that says it is done."""
        source = self.sources[stimulus.source]
        measuring = measuring_network(self.manifest, stimulus)
        extractor, grams = self.networks.extractor(measuring), self.networks.grams(measuring, source)
        if source.id not in self.source_statistics:
            copying = self.manifest.measure.copying
            self.source_statistics[source.id] = source_statistics(source.pixels, copying=copying)
        of_source = self.source_statistics[source.id]
        finished = finish(
            self.manifest,
            stimulus,
            source,
            rendered.image,
            extractor,
            grams,
            of_source,
            self.the_set,
        )
        record = Record(
            stimulus_id=stimulus.stimulus_id,
            filename=f"stimuli/{stimulus.stimulus_id}.png",
            png_sha256=sha256(finished.png),
            recipe_sha256=self.hashes[stimulus.stimulus_id],
            condition=stimulus.condition,
            kind=stimulus.kind,
            seed=stimulus.seed,
            source=SourceRecord.model_validate(source, from_attributes=True),
            image=ImageRecord.model_validate(self.manifest.image, from_attributes=True),
            network=self.networks.record(network),
            measured_in=self.networks.record(measuring),
            synthesis=synthesis_record(self.manifest, stimulus, rendered, self.networks.extractor(network)),
            control=rendered.control,
            matching=MatchingRecord(settings=self.manifest.matching, **asdict(finished.residuals)),
            clipped_share=finished.clipped_share,
            luminance=finished.statistics.luminance,
            slope=finished.statistics.slope,
            spectrum=finished.statistics.spectrum,
            copying=finished.statistics.copying,
            distances=finished.distances,
            scales=tuple(ScaleRecord(**asdict(scale)) for scale in grams.scales.values()),
            portilla_simoncelli=finished.portilla_simoncelli,
            made=MadeRecord(
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(seconds, 3),
                device=device_name(extractor.device),
                versions=versions(),
            ),
        )
        write_atomically(self.folder.png(stimulus.stimulus_id), finished.png)
        write_atomically(self.folder.record(stimulus.stimulus_id), record.model_dump_json(indent=1) + "\n")
        self.progress.stimulus(record)
        return record

    def _failed(self, stimulus: Stimulus, error: Exception) -> Failure:
        failure = _failure(stimulus, error)
        self.progress.failure(failure)
        return failure


def _failure(stimulus: Stimulus, error: Exception) -> Failure:
    if isinstance(error, StimgenError):
        return Failure(stimulus.stimulus_id, error.problem, error.cure)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        stimulus.stimulus_id,
        f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})",
        "This is unexpected: please report it with the manifest.",
    )


def _summary(
    manifest: Manifest, started: datetime, stimuli: int, made: int, kept: int, failed: int, rejected: int
) -> dict[str, Any]:
    return {
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
    summary: Mapping[str, Any], manifest: Manifest, stimuli: Sequence[Stimulus], fingerprint: str
) -> bool:
    """Return whether the summary of an earlier run is about these very stimuli, all of them made."""
    counts = [summary.get(name) for name in ("made", "kept")]
    made = sum(count for count in counts if isinstance(count, int))
    # An older version of stimgen wrote no hash.
    same = summary.get("stimuli_sha256", fingerprint) == fingerprint
    return same and summary.get("name") == manifest.name and summary.get("stimuli") == made == len(stimuli)


def _write_manifests(folder: RunFolder, manifest: Manifest) -> dict[str, str]:
    """Write the manifest as given and with nothing left open; return the SHA-256 of both."""
    resolved: dict[str, Any] = manifest.resolved(folder.path)
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    contents = {"manifest.yaml": manifest.path.read_bytes(), "manifest.resolved.yaml": text.encode()}
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
