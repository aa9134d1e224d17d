"""run.json and the manifests of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from stimgen.manifest.document import Dumper
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import plan_batches
from stimgen.runs.shards import ShardNote
from stimgen.runs.store import FORMAT, LASTING, Done, RunFolder, sha256, write_atomically


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
    found = dict.fromkeys(network for note in notes for network in note.networks)
    places = {
        (spec.name, Path(spec.weights).name, str(spec.pooling), spec.normalise): place
        for place, spec in enumerate(specs)
    }
    networks = sorted(found, key=lambda one: places[one.name, one.weights, str(one.pooling), one.normalise])
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
