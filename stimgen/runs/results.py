"""What a run writes beside its stimuli: manifests, tables and run.json; a shard writes a note instead."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stimgen.manifest.document import Dumper
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import plan_batches
from stimgen.runs.shards import Shard, ShardNote, read_note
from stimgen.runs.store import FORMAT, LASTING, Done, RunFolder, read_done, sha256, write_atomically
from stimgen.runs.tables import Failure, write_tables

if TYPE_CHECKING:
    from stimgen.runs.runner import Maker


class Results:
    """What is done so far, and how it is written down: in tables and run.json, or in the note of a shard."""

    def __init__(self, folder: RunFolder, maker: Maker, done: dict[str, Done]) -> None:
        self.done = done
        self.failures: list[Failure] = []
        self.rejected = 0
        self.kept = len(done)
        self._folder = folder
        self._maker = maker
        self._started = _now()
        self._nothing_to_make = len(done) == len(maker.own)
        self._manifests = write_manifests(folder, maker.manifest)

    @property
    def made(self) -> int:
        """How many stimuli were made in this run."""
        return len(self.done) - self.kept

    def write(self) -> None:
        """Write what is known now."""
        if self._maker.shard:
            self._write_note(self._maker.shard)
        else:
            self._write_tables()

    def _write_tables(self) -> None:
        folder, manifest = self._folder, self._maker.manifest
        ids = [stimulus.stimulus_id for stimulus in self._maker.planned]
        records = read_done(folder, ids, self.done)
        self.rejected = write_tables(folder, records, self.failures, manifest.accept)
        fingerprint = folder.fingerprint({name: done.png_sha256 for name, done in self.done.items()})
        before = folder.read_summary()
        # With nothing to make, the summary stays that of the run that made the stimuli.
        if self._nothing_to_make and describes(before, manifest, self.done.values(), fingerprint):
            # It may have been killed before it could count all that it made.
            summary = before | {"made": len(ids) - before["kept"]}
        else:
            summary = _counts(manifest, self._started, len(ids), self.made, self.kept) | self._maker.made_with
        summary |= {
            "failed": len(self.failures),
            "rejected": self.rejected,
            "stimuli_sha256": fingerprint,
            "overrides": dict(manifest.overrides),
            "manifest_sha256": self._manifests,
            "trial_lists": folder.noted_lists(),
        }
        write_summary(folder, summary)

    def _write_note(self, shard: Shard) -> None:
        """Write the note of a shard, unless it says all this already."""
        path, stimuli = shard.note(self._folder), len(self._maker.own)
        before = read_note(path)
        complete = before is not None and before.made + before.kept == len(self.done) == stimuli
        if complete and not self.made and before and before.manifest_sha256 == self._manifests:
            return
        note = ShardNote(
            shard=str(shard),
            stimuli=stimuli,
            made=self.made,
            kept=self.kept,
            started=self._started,
            finished=_now(),
            **self._maker.made_with,
            overrides=dict(self._maker.manifest.overrides),
            manifest_sha256=self._manifests,
            failures=tuple(self.failures),
        )
        write_atomically(path, note.model_dump_json(indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _counts(manifest: Manifest, started: str, stimuli: int, made: int, kept: int) -> dict[str, Any]:
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
        "finished": _now(),
    }


def describes(
    summary: Mapping[str, Any], manifest: Manifest, done: Collection[Done], fingerprint: str
) -> bool:
    """Return whether the run.json of an earlier run is about exactly these stimuli, all of the plan."""
    counts = (summary.get("made"), summary.get("kept"))
    if any(type(count) is not int or not 0 <= count <= len(done) for count in counts):
        return False
    if any(not isinstance(summary.get(key), kind) for key, kind in LASTING.items()):
        return False
    networks = [one for one in summary["networks"] if isinstance(one, dict)]
    named = {(one.get("name"), one.get("tensors_sha256")) for one in networks}
    if not {network for one in done for network in one.networks} <= named:
        return False
    # A run that was killed had counted fewer.
    same = summary["made"] + summary["kept"] < len(done) or summary["stimuli_sha256"] == fingerprint
    return same and (summary.get("name"), summary.get("stimuli")) == (manifest.name, len(done))


def summary_of_shards(
    manifest: Manifest, notes: Sequence[ShardNote], stimuli: Sequence[Stimulus], done: int
) -> dict[str, Any]:
    """Return run.json of a run that shards made, as if one process had made it."""
    batch_size = max(note.batch_size for note in notes)
    specs = dict.fromkeys(batch.network for batch in plan_batches(manifest, stimuli, batch_size))
    specs |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in stimuli)
    found = dict.fromkeys(network for note in notes for network in note.networks)
    places = {
        (spec.name, Path(spec.weights).name, str(spec.pooling), spec.normalise): place
        for place, spec in enumerate(specs)
    }
    networks = sorted(found, key=lambda one: places[one.name, one.weights, str(one.pooling), one.normalise])
    last = max(notes, key=lambda note: note.finished)
    return _counts(manifest, min(note.started for note in notes), len(stimuli), done, 0) | {
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
