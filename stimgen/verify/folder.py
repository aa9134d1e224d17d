"""The files of a run: which do not belong to it, which were altered; and its sources and weights."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import StimgenError
from stimgen.images.png import decode_png
from stimgen.images.sources import SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.columns import RUN_TABLES
from stimgen.runs.lock import LOCK, OWNER
from stimgen.runs.outlook import known_sha256, source_sha256
from stimgen.runs.record import Record, SourceRecord, png_name, record_name
from stimgen.runs.store import DESKTOP_FILES, RunFolder, sha256
from stimgen.runs.unplanned import Unplanned
from stimgen.verify.finding import (
    KILLED,
    SOURCE,
    Finding,
    incomplete,
    some,
    unchecked,
    warning,
    wrong,
)

OWN_FILES = frozenset(
    (
        *("manifest.yaml", "manifest.resolved.yaml", "run.json", "report.html", "preview.html", LOCK, OWNER),
        *(f"{name}{ending}" for name in RUN_TABLES for ending in (".csv", ".json")),
    )
)
OWN_FOLDERS = frozenset(("stimuli", "records", "trials", "checkpoints", "figures", "shards", "logs"))
NOT_ASKED = "is not of a stimulus that the manifest asks for"
ONLY_BY_READING = "weights whose SHA-256 is compared with that in the records only by --recompute"


def folder_findings(
    folder: RunFolder, planned: Collection[str], unplanned: Unplanned, overrides: str
) -> Iterator[Finding]:
    """Yield what is in a run folder and does not belong to the run; the folder trials/ is left out."""
    for entry in _entries(folder.path):
        name = entry.name
        if name.startswith(TEMPORARY):
            yield incomplete(name, KILLED)
        elif name == OWNER:
            yield incomplete(name, "is of a run that was killed, or is at work on another machine")
        elif name not in OWN_FILES | OWN_FOLDERS:
            yield warning(name, "is no part of the run")
        elif entry.is_symlink():
            yield wrong(name, "is a symbolic link, and not a part of this run", ("remove", "run"))
        elif entry.is_dir() != (name in OWN_FOLDERS):
            yield wrong(name, "is a folder" if entry.is_dir() else "is not a folder", ("remove", "run"))
    for inner in (folder.stimuli, folder.records):
        if not os.path.lexists(inner):
            yield wrong(inner.name, "is missing")
    reasons = dict(unplanned.others)
    own, removable = _names(folder, planned), _names(folder, unplanned.stimuli)
    places = dict(folder.places())
    for inner in places:
        for entry in _entries(inner):
            place = (inner / entry.name).relative_to(folder.path).as_posix()
            if entry.name.startswith(TEMPORARY):
                yield incomplete(place, KILLED)
            elif entry.name in DESKTOP_FILES:
                yield warning(place, "is no part of the run")
            elif place in own or (inner / entry.name in places and not entry.is_symlink()):
                continue
            elif place in removable:
                options = f" (the run was made with {overrides})" if overrides else ""
                text = f"{NOT_ASKED}{options}; it is unaltered and kept: stimgen run with --prune removes it"
                yield warning(place, text)
            else:
                yield wrong(
                    place, f"{NOT_ASKED}{f': {reasons[place]}' if place in reasons else ''}", ("remove",)
                )


def _names(folder: RunFolder, ids: Collection[str]) -> frozenset[str]:
    spread = folder.is_spread
    return frozenset(name(one, spread=spread) for one in ids for name in (png_name, record_name))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def png_problem(folder: RunFolder, record: Record) -> str | None:
    """Return what is wrong with the PNG file of a record, as the rest of a sentence."""
    try:
        content = read_regular(folder.png(record.stimulus_id))
    except UnreadableError as error:
        return str(error)
    found = sha256(content)
    if found == record.png_sha256:
        return None
    problem = f"was altered: its SHA-256 is {found}, and the record says {record.png_sha256}"
    try:
        pixels = decode_png(content)
    except StimgenError as error:
        return f"{problem}; it cannot be read as a stimulus: {error.problem.removeprefix('The PNG data ')}"
    side = record.image.size_px
    if pixels.shape[:2] != (side, side):
        problem += f"; it is {pixels.shape[1]} × {pixels.shape[0]} px instead of {side} × {side} px"
    return problem


def source_findings(sources: Iterable[SourceSpec], recorded: Mapping[str, SourceRecord]) -> Iterator[Finding]:
    """Yield sources that are other files now, or not at hand; the stimuli are not affected."""
    gone = []
    for spec in sources:
        if spec.id not in recorded:
            continue
        found = source_sha256(spec)
        if found is None:
            gone.append(spec.image)
        elif found != recorded[spec.id].sha256:
            text = f"is another file than the one that the source {spec.id} was made of: its SHA-256 is "
            yield warning(
                spec.image, f"{text}{found}, and the records say {recorded[spec.id].sha256}", SOURCE
            )
    if gone:
        yield unchecked(some(gone), "not at hand, so not compared with the SHA-256 in the records", SOURCE)


def weights_findings(recorded: Mapping[NetworkSpec, str]) -> Iterator[Finding]:
    """Yield weights that are others now, or cannot be compared without reading them."""
    for (name, weights), found in {(one.name, one.weights): sha for one, sha in recorded.items()}.items():
        known = known_sha256(name, weights)
        file = f"{name} {Path(weights).name}"
        if known is None:
            yield unchecked(file, ONLY_BY_READING)
        elif known != found:
            text = f"has tensors with the SHA-256 {known} here, and the records say {found}"
            yield warning(file, text, SOURCE)
