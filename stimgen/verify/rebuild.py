"""The tables of a run, written again from its records: without torch, sources or weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stimgen.bounded import read_regular
from stimgen.counting import SHOWN
from stimgen.errors import InputError
from stimgen.manifest.plan import Stimulus, plan
from stimgen.manifest.resolved import Manifest
from stimgen.runs.load import load_run
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
from stimgen.runs.steps import read_done
from stimgen.runs.store import RunFolder, sha256
from stimgen.runs.tables import write_tables
from stimgen.runs.trial_lists import write_trial_lists
from stimgen.verify.folder import read_failures
from stimgen.verify.records import CONTRADICTS
from stimgen.verify.run import Look, open_run, resolved_manifest


@dataclass(frozen=True)
class Rebuilt:
    """What was written."""

    folder: Path
    stimuli: int
    planned: int
    outdated: tuple[str, ...]
    trial_lists: tuple[Path, ...]
    missing_shards: tuple[str, ...] = ()
    unknown_columns: tuple[str, ...] = ()


def rebuild_tables(path: Path) -> Rebuilt:
    """Write the tables, data dictionaries and trial lists of a run as `stimgen run` writes them.

    Why stimuli could not be made only failures.csv knows; its rows are kept.
    """
    folder, _ = open_run(path)
    with folder.locked():
        manifest = resolved_manifest(folder)  # which a run may have replaced until the folder was locked
        stimuli = plan(manifest)
        look = _read(folder, manifest, stimuli)
        done = look.done
        planned = [stimulus.stimulus_id for stimulus in stimuli]
        notes = _notes(folder)
        # What shards of this manifest say, or else what the run said before.
        noted = {failure.stimulus_id: failure for note in notes for failure in note.failures}
        reasons = noted if notes else read_failures(folder)[0]
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
    outdated, unknown = tuple(look.outdated), tuple(look.foreign)
    return Rebuilt(folder.path, len(done), len(planned), outdated, trial_lists, shards, unknown)


def _read(folder: RunFolder, manifest: Manifest, stimuli: Sequence[Stimulus]) -> Look:
    """Return what there is of a run; raise InputError if something is damaged or altered."""
    look = Look(folder, manifest, stimuli)
    for _ in look.records():
        pass
    problems = [
        f"{finding.file} {finding.problem}"
        for finding in look.findings
        if finding.severity == "wrong" and not finding.problem.startswith(CONTRADICTS)
    ]
    if problems:
        raise InputError(
            f"No tables can be made of {folder.path}:\n" + "\n".join(problems),
            "Run the manifest again: what is damaged or altered is made again.",
        )
    if different := [f"{finding.file} {finding.problem}" for finding in look.known.findings()]:
        more = [f"and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
        raise InputError(
            f"The stimuli of {folder.path} were made of different sources or weights:\n"
            + "\n".join(different[:SHOWN] + more),
            "Run the manifest, or all of its shards, again: what was made of another source or with other "
            "weights is made again.",
        )
    return look


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
