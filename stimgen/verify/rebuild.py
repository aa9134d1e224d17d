"""The tables of a run, written again from its records: without torch, sources or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import InputError
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.csv_files import rows_of, unmarked
from stimgen.runs.load import load_run
from stimgen.runs.record import RecordError, SourceRecord
from stimgen.runs.results import (
    Shard,
    ShardNote,
    is_unmerged,
    note_merged,
    parse_shard,
    read_notes,
    summary_of_shards,
    write_summary,
)
from stimgen.runs.store import Done, RunFolder, read_done, sha256
from stimgen.runs.tables import Failure, write_tables
from stimgen.runs.trial_lists import write_trial_lists
from stimgen.verify.finding import SHOWN
from stimgen.verify.records import OTHER_RECIPE, Identities, record_findings
from stimgen.verify.run import open_run, resolved_manifest


@dataclass(frozen=True)
class Rebuilt:
    """What was written."""

    folder: Path
    stimuli: int
    planned: int
    outdated: tuple[str, ...]
    trial_lists: tuple[Path, ...]
    missing_shards: tuple[str, ...] = ()


def rebuild_tables(path: Path) -> Rebuilt:
    """Write the tables, data dictionaries and trial lists of a run as `stimgen run` writes them.

    Why stimuli could not be made only failures.csv knows; its rows are kept.
    """
    folder, _ = open_run(path)
    with folder.locked():
        manifest = resolved_manifest(folder)  # which a run may have replaced until the folder was locked
        stimuli = plan(manifest)
        found, sources = _done(folder, stimuli)
        outdated = _outdated(folder, manifest, stimuli, found, sources)
        done = {name: known for name, known in found.items() if name not in outdated}
        planned = [stimulus.stimulus_id for stimulus in stimuli]
        notes = _notes(folder)
        # What shards of this manifest say, or else what the run said before.
        noted = [failure for note in notes for failure in note.failures]
        reasons = {failure.stimulus_id: failure for failure in (noted if notes else _failures(folder))}
        failures = [reasons[name] for name in planned if name in reasons and name not in done]
        rejected = write_tables(folder, read_done(folder, planned, done), failures, manifest.accept)
        summary = folder.read_summary()
        if notes and is_unmerged(folder):
            lists = {"trial_lists": folder.noted_lists()}
            summary = summary_of_shards(manifest, notes, stimuli, len(done)) | lists
        # What run.json says of the run that made the stimuli stays.
        summary |= {"name": manifest.name, "stimuli": len(planned)}
        if sum(count for key in ("made", "kept") if isinstance(count := summary.get(key), int)) != len(done):
            summary |= {"made": 0, "kept": len(done)}
        summary |= {"failed": len(failures), "rejected": rejected}
        fingerprint = folder.fingerprint({name: known.png_sha256 for name, known in done.items()})
        write_summary(folder, summary | {"stimuli_sha256": fingerprint})
        trial_lists: tuple[Path, ...] = ()
        if len(done) == len(planned):
            folder.remove_checkpoints()
            if manifest.trials:
                trial_lists = write_trial_lists(load_run(folder.path, check_hashes=False), manifest.trials)
        note_merged(folder)
    shards = _missing_shards(notes) if len(done) < len(planned) else ()
    return Rebuilt(folder.path, len(done), len(planned), outdated, trial_lists, shards)


def _done(folder: RunFolder, stimuli: Sequence[Stimulus]) -> tuple[dict[str, Done], dict[str, SourceRecord]]:
    """Return the stimuli that are done, in the order of the plan, and what records say of each source."""
    done: dict[str, Done] = {}
    sources: dict[str, SourceRecord] = {}
    problems = []
    for stimulus in stimuli:
        stimulus_id = stimulus.stimulus_id
        try:
            record = folder.checked_record(stimulus_id, may_be_link=False)
        except RecordError as error:
            if str(error) != "is missing":
                problems.append(f"{folder.record_name(stimulus_id)} {error}")
            continue
        done[stimulus_id] = Done.of(record)
        sources[record.source.id] = record.source
        try:
            if sha256(read_regular(folder.png(stimulus_id))) != record.png_sha256:
                problems.append(f"{record.filename} is not the file that its record describes")
        except UnreadableError as error:
            problems.append(f"{record.filename} {error}")
    if problems:
        raise InputError(
            f"No tables can be made of {folder.path}:\n" + "\n".join(problems),
            "Run the manifest again: what is damaged or altered is made again.",
        )
    return done, sources


def _outdated(
    folder: RunFolder,
    manifest: Manifest,
    stimuli: Sequence[Stimulus],
    done: Mapping[str, Done],
    sources: Mapping[str, SourceRecord],
) -> tuple[str, ...]:
    """Return the stimuli that a run of the manifest would make again, as far as records tell."""
    known = Identities()
    outdated = []
    made = [stimulus for stimulus in stimuli if stimulus.stimulus_id in done]
    records = read_done(folder, [stimulus.stimulus_id for stimulus in made], done)
    for stimulus, record in zip(made, records, strict=True):
        found = record_findings(manifest, stimulus, record, sources.get, known)
        if any(OTHER_RECIPE in finding.problem for finding in found):
            outdated.append(stimulus.stimulus_id)
        else:
            known.add(manifest, stimulus, record)
    if different := list(known.findings(folder)):
        lines = [f"{finding.file} {finding.problem}" for finding in different[:SHOWN]]
        if len(different) > SHOWN:
            lines.append(f"and {len(different) - SHOWN} more")
        raise InputError(
            f"The stimuli of {folder.path} were made of different sources or weights:\n" + "\n".join(lines),
            "Run the manifest, or all of its shards, again: what was made of another source or with other "
            "weights is made again.",
        )
    return tuple(outdated)


def _failures(folder: RunFolder) -> list[Failure]:
    try:
        _, *rows = rows_of(read_regular(folder.path / "failures.csv"))
        return [Failure(*map(unmarked, row)) for row in rows]
    except (UnreadableError, TypeError):
        return []


def _notes(folder: RunFolder) -> list[ShardNote]:
    """Return the notes of the shards that were made with the manifest that is there."""
    resolved = "manifest.resolved.yaml"
    current = sha256(read_regular(folder.path / resolved))
    return [note for note in read_notes(folder).values() if note.manifest_sha256.get(resolved) == current]


def _missing_shards(notes: Sequence[ShardNote]) -> tuple[str, ...]:
    """Return the shards beside those that are noted, of the division of the one that worked last."""
    if not notes:
        return ()
    last = parse_shard(max(notes, key=lambda note: note.finished).shard)
    whole = {note.shard for note in notes if note.made + note.kept + len(note.failures) == note.stimuli}
    every = (str(Shard(number, last.count)) for number in range(1, last.count + 1))
    return tuple(one for one in every if one not in whole)
