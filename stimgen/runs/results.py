"""What is written of a run as a whole: run.json and the manifests, and the notes of shards."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stimgen.atomic import make_folder
from stimgen.bounded import read_file
from stimgen.errors import InputError
from stimgen.manifest.document import Dumper
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.runs import lock
from stimgen.runs.batches import Batch, plan_batches
from stimgen.runs.record import NetworkRecord
from stimgen.runs.steps import Done
from stimgen.runs.store import (
    FORMAT,
    LASTING,
    MOST_BYTES,
    WRITABLE,
    RunFolder,
    sha256,
    storing,
    write_atomically,
)
from stimgen.runs.tables import Failure

NOTE = "shard.json"
MERGED = "merged.json"
MOST_SHARDS = 10_000
_TEXT = re.compile(r"^([0-9]{1,5})/([0-9]{1,5})$")


@dataclass(frozen=True)
class Shard:
    """Which part."""

    number: int
    count: int

    def __str__(self) -> str:
        """Return it as on the command line."""
        return f"{self.number}/{self.count}"

    def note(self, run: RunFolder) -> Path:
        """Return the file of its note, beside which is its lock."""
        return run.shards / f"{self.number}-of-{self.count}" / NOTE

    def of(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return its batches: every N-th, so that each shard has some of every layer set.

        Neighbours in the plan take about as long as each other.
        """
        return list(batches[self.number - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """Return the shard that "3/8" names.

    Examples
    --------
    >>> parse_shard("3/8")
    Shard(number=3, count=8)
    """
    form = _TEXT.fullmatch(text)
    number, count = (int(form[1]), int(form[2])) if form else (0, 0)
    if not 1 <= number <= count <= MOST_SHARDS:
        raise InputError(
            f"--shard {text} names no shard.",
            f"Write I/N with I from 1 to N, and N at most {MOST_SHARDS}: 1/8 for the first of eight.",
        )
    return Shard(number, count)


class ShardNote(BaseModel):
    """What a shard did, or has done so far; what run.json says of a whole run."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    shard: str = Field(pattern=_TEXT.pattern)
    stimuli: int
    made: int
    kept: int
    started: str
    finished: str
    device: str
    batch_size: int
    networks: tuple[NetworkRecord, ...]
    versions: dict[str, str]
    overrides: dict[str, str | list[int]]
    manifest_sha256: dict[str, str]
    failures: tuple[Failure, ...]


@contextlib.contextmanager
def shard_locked(folder: RunFolder, shard: Shard, task: str) -> Iterator[None]:
    """Keep the same shard, shards of another division or task, and whole runs out while this one works."""
    own = shard.note(folder).parent
    with contextlib.ExitStack() as held:
        with storing(f"The folder {own}", "locked", WRITABLE):
            make_folder(own)
            held.enter_context(lock.locked(own, task))
        # After its own lock is there: whoever comes at the same time sees it.
        for other in (folder.path, *folder.shard_folders()):
            if other != own:
                _refuse_other_work(folder, other, shard, task)
        yield


def _refuse_other_work(folder: RunFolder, other: Path, shard: Shard, task: str) -> None:
    """Raise LockError if the whole run, another division, or another task is at work in `other`."""
    try:
        lock.refuse_at_work(other)
    except lock.LockError as error:
        if other == folder.path or not other.name.endswith(f"-of-{shard.count}"):
            text = f"{error.problem} Only shards of the same N can be made at the same time."
            raise lock.LockError(text, error.cure) from None
        with contextlib.suppress(ValidationError):
            owner = lock.read_owner(other)
            if owner is None or owner.task == task:  # it has not said yet, or is at the same
                return
        raise lock.LockError(
            f"Shards of another manifest, or with other options, are at work in {folder.path}, such as "
            f"{other.name}.",
            "Give all shards the same manifest and options, or choose another folder with --out. If that one "
            f"was killed, delete {other / lock.OWNER} and run again.",
        ) from None


def read_notes(folder: RunFolder) -> dict[Path, ShardNote]:
    """Return the notes that can be read, by their path."""
    found = {one / NOTE: read_note(one / NOTE) for one in folder.shard_folders()}
    return {path: note for path, note in found.items() if note is not None}


def read_note(path: Path) -> ShardNote | None:
    """Return a note; None if there is none that can be read."""
    try:
        return ShardNote.model_validate_json(read_file(path, MOST_BYTES))
    except (OSError, ValidationError):
        return None


def is_unmerged(folder: RunFolder) -> bool:
    """Return whether shards were made since the tables were written."""
    notes = read_notes(folder)
    try:
        merged = read_file(folder.shards / MERGED, MOST_BYTES)
    except OSError:
        merged = b""
    return bool(notes) and merged != _merged(notes).encode()


def note_merged(folder: RunFolder) -> None:
    """Write down that all shards are in the tables."""
    if notes := read_notes(folder):
        write_atomically(folder.shards / MERGED, _merged(notes))


def _merged(notes: dict[Path, ShardNote]) -> str:
    texts = "\n".join(f"{path.parent.name} {note.model_dump_json()}" for path, note in notes.items())
    return f'{{"notes_sha256": "{sha256(texts.encode())}"}}\n'


def remove_shards(folder: RunFolder) -> None:
    """Remove what shards left beside their stimuli: a whole run says it all in its own files.

    Nothing else is removed, and no link is followed. What cannot be removed stays; nothing depends on it.
    """
    folders = folder.shard_folders()
    # The notes first: as long as one is there, tables are to be made of it.
    for name in (NOTE, lock.LOCK, lock.OWNER):
        for one in folders:
            with contextlib.suppress(OSError):
                (one / name).unlink(missing_ok=True)
    for one in folders:
        with contextlib.suppress(OSError):
            one.rmdir()
    with contextlib.suppress(OSError):
        if folder.shards.is_dir() and not folder.shards.is_symlink():
            (folder.shards / MERGED).unlink(missing_ok=True)
            folder.shards.rmdir()


def now() -> str:
    """Return the time, for records and run.json."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def counts(manifest: Manifest, started: str, stimuli: int, made: int, kept: int) -> dict[str, Any]:
    """Return the counts of run.json; what failed or is rejected is filled in later."""
    return {
        "format": FORMAT,
        "name": manifest.name,
        "overrides": dict(manifest.overrides),
        "stimuli": stimuli,
        "made": made,
        "kept": kept,
        "failed": 0,
        "rejected": 0,
        "started": started,
        "finished": now(),
    }


def fingerprint(folder: RunFolder, done: Mapping[str, Done]) -> str:
    """Return `stimuli_sha256` of run.json."""
    return folder.fingerprint({name: known.png_sha256 for name, known in done.items()})


def describes(
    summary: Mapping[str, Any], manifest: Manifest, folder: RunFolder, done: Mapping[str, Done]
) -> bool:
    """Return whether the run.json of an earlier run is about exactly these stimuli, all of the plan."""
    counts = (summary.get("made"), summary.get("kept"))
    if any(type(count) is not int or not 0 <= count <= len(done) for count in counts):
        return False
    if any(not isinstance(summary.get(key), kind) for key, kind in LASTING.items()):
        return False
    networks = [network for network in summary["networks"] if isinstance(network, dict)]
    named = {(network.get("name"), network.get("tensors_sha256")) for network in networks}
    if not {network for known in done.values() for network in known.networks} <= named:
        return False
    # A run that was killed had counted fewer.
    counted_fewer = summary["made"] + summary["kept"] < len(done)
    same = counted_fewer or summary["stimuli_sha256"] == fingerprint(folder, done)
    return same and (summary.get("name"), summary.get("stimuli")) == (manifest.name, len(done))


def summary_of_shards(
    manifest: Manifest, notes: Sequence[ShardNote], stimuli: Sequence[Stimulus], done: int
) -> dict[str, Any]:
    """Return run.json of a run that shards made, as if one process had made it."""
    batch_size = max(note.batch_size for note in notes)
    specs = dict.fromkeys(batch.network for batch in plan_batches(manifest, stimuli, batch_size))
    specs |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in stimuli)
    keys = [
        (spec.name, Path(spec.weights).name, str(spec.pooling), str(spec.padding), spec.normalise)
        for spec in specs
    ]
    # Files of one name in different folders are different weights.
    networks = sorted(
        dict.fromkeys(network for note in notes for network in note.networks),
        key=lambda n: keys.index((n.name, n.weights, n.pooling, n.padding, n.normalise)),
    )
    last = max(notes, key=lambda note: note.finished)
    return counts(manifest, min(note.started for note in notes), len(stimuli), done, 0) | {
        "overrides": last.overrides,
        "finished": last.finished,
        "device": ", ".join(dict.fromkeys(note.device for note in notes)),
        "batch_size": batch_size,
        "networks": [network.model_dump() for network in networks],
        "versions": last.versions,
        "stimuli_sha256": "",  # of the records, when they are counted
        "manifest_sha256": last.manifest_sha256,
    }


def write_summary(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_atomically(folder.path / "run.json", json.dumps(summary, indent=2) + "\n")


def manifest_contents(folder: RunFolder, manifest: Manifest) -> dict[str, bytes]:
    """Return the manifest as given and with nothing left open, by the names of their files."""
    resolved: dict[str, Any] = manifest.resolved(folder.path)
    text = yaml.dump(resolved, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    return {"manifest.yaml": manifest.content, "manifest.resolved.yaml": text.encode()}


def write_manifests(folder: RunFolder, manifest: Manifest) -> dict[str, str]:
    """Write the manifest as given and with nothing left open; return the SHA-256 of both."""
    contents = manifest_contents(folder, manifest)
    for name, content in contents.items():
        write_atomically(folder.path / name, content)
    return {name: sha256(content) for name, content in contents.items()}
