"""What run.json says of a run, and the manifests beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolved import Manifest
from stimgen.runs.batches import plan_batches
from stimgen.runs.done import Done
from stimgen.runs.shards import ShardNote
from stimgen.runs.store import FORMAT, LASTING, RunFolder, sha256, write_atomically


def counts(manifest: Manifest, started: datetime, stimuli: int, made: int, kept: int) -> dict[str, Any]:
    """Return what a run that began at `started` did; what failed or is rejected is filled in later."""
    return {
        "format": FORMAT,
        "name": manifest.name,
        "overrides": dict(manifest.overrides),
        "stimuli": stimuli,
        "made": made,
        "kept": kept,
        "failed": 0,
        "rejected": 0,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describes(
    summary: Mapping[str, Any], manifest: Manifest, done: Collection[Done], fingerprint: str
) -> bool:
    """Return whether the summary of an earlier run is about these very stimuli, which are all there are."""
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
    """Return what run.json says of a run that shards made, as if one process had made it.

    Parameters
    ----------
    manifest, stimuli
        What was asked for, and its plan.
    notes
        Of the shards, at least one.
    done
        How many stimuli are done.
    """
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
    return {
        "format": FORMAT,
        "name": manifest.name,
        "overrides": last.overrides,
        "stimuli": len(stimuli),
        "made": done,
        "kept": 0,
        "failed": 0,
        "rejected": 0,
        "started": min(note.started for note in notes),
        "finished": last.finished,
        "device": ", ".join(dict.fromkeys(note.device for note in notes)),
        "batch_size": batch_size,
        "networks": [network.model_dump() for network in networks],
        "versions": last.versions,
        "stimuli_sha256": "",  # of the records, when they are counted
        "manifest_sha256": last.manifest_sha256,
    }


def manifest_contents(folder: RunFolder, manifest: Manifest) -> dict[str, bytes]:
    """Return the manifest as given and with nothing left open, by the names of their files."""
    resolved: dict[str, Any] = manifest.resolved(folder.path)
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    return {"manifest.yaml": manifest.content, "manifest.resolved.yaml": text.encode()}


def write_manifests(folder: RunFolder, manifest: Manifest) -> dict[str, str]:
    """Write the manifest as given and with nothing left open; return the SHA-256 of both."""
    contents = manifest_contents(folder, manifest)
    for name, content in contents.items():
        write_atomically(folder.path / name, content)
    return {name: sha256(content) for name, content in contents.items()}
