"""What run.json says of a run, and the manifests beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from stimgen.manifest.resolved import Manifest
from stimgen.runs.acceptance import reasons_to_reject
from stimgen.runs.record import Record
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


def count_rejected(manifest: Manifest, records: Iterable[Record]) -> int:
    """Return how many stimuli exceed a threshold of the manifest."""
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


def write_manifests(folder: RunFolder, manifest: Manifest) -> dict[str, str]:
    """Write the manifest as given and with nothing left open; return the SHA-256 of both."""
    resolved: dict[str, Any] = manifest.resolved(folder.path)
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    contents = {"manifest.yaml": manifest.content, "manifest.resolved.yaml": text.encode()}
    for name, content in contents.items():
        write_atomically(folder.path / name, content)
    return {name: sha256(content) for name, content in contents.items()}
