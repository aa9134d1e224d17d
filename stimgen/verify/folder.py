"""The files of a run beside records and tables: what belongs to it, run.json, manifests, sources, weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.errors import StimgenError
from stimgen.images.png import decode_png
from stimgen.images.sources import SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.columns import FAILURES, RUN_TABLES
from stimgen.runs.csv_files import rows_of
from stimgen.runs.lock import LOCK, OWNER
from stimgen.runs.recipe import known_weights, source_sha256
from stimgen.runs.record import Record, SourceRecord, png_name, record_name
from stimgen.runs.store import DESKTOP_FILES, LASTING, RunFolder, sha256
from stimgen.runs.unplanned import Unplanned
from stimgen.verify.finding import (
    KILLED,
    SOURCE,
    TABLES,
    Finding,
    cures_at,
    incomplete,
    lost,
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
PNG_CHUNKS = frozenset((b"IHDR", b"IDAT", b"IEND"))
"""All that `stimgen.images.png.encode_png` writes: no gamma, profile, text or time."""
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
    problems = []
    if found != record.png_sha256:
        problems.append(f"was altered: its SHA-256 is {found}, and the record says {record.png_sha256}")
    try:
        pixels = decode_png(content)
    except StimgenError as error:
        problems.append(f"cannot be read as a stimulus: {error.problem.removeprefix('The PNG data ')}")
        return "; ".join(problems)
    side, color = record.image.size_px, "grey" if pixels.ndim == 2 else "rgb"
    if pixels.shape[:2] != (side, side):
        found_size = f"{pixels.shape[1]} × {pixels.shape[0]}"
        problems.append(f"is {found_size} px, and the record says {side} × {side} px")
    if color != record.image.color:
        problems.append(f"is {color}, and the record says {record.image.color}")
    if more := sorted(name.decode("latin-1") for name in set(_chunks(content)) - PNG_CHUNKS):
        problems.append(f"has {', '.join(more)} beside its pixels, which stimgen never writes")
    return "; ".join(problems) or None


def _chunks(png: bytes) -> Iterator[bytes]:
    """Yield the names of the chunks of a PNG file that can be decoded."""
    place = 8
    while place + 8 <= len(png):
        yield png[place + 4 : place + 8]
        place += 12 + int.from_bytes(png[place : place + 4], "big")


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
        known = known_weights(name, weights)
        file = f"{name} {Path(weights).name}"
        if known is None:
            yield unchecked(file, ONLY_BY_READING)
        elif known.tensors_sha256 != found:
            text = f"has tensors with the SHA-256 {known.tensors_sha256} here, and the records say {found}"
            yield warning(file, text, SOURCE)


FILE = "run.json"
MANIFESTS = ("manifest.yaml", "manifest.resolved.yaml")


@dataclass(frozen=True)
class Summary:
    """The content of run.json; empty with a problem if it cannot be read."""

    content: Mapping[str, Any]
    problem: Finding | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> Summary:
        """Return the summary of a run."""
        try:
            content = json.loads(read_regular(folder.path / FILE))
        except UnreadableError as error:
            return cls({}, wrong(FILE, str(error), cures_at(folder.path / FILE)))
        except (ValueError, RecursionError):
            return cls({}, wrong(FILE, "is damaged: it is not JSON"))
        return cls(content) if isinstance(content, dict) else cls({}, wrong(FILE, "is damaged"))

    @property
    def overrides(self) -> str:
        """The options of the command line that changed the manifest; empty if there were none."""
        known = self.content.get("overrides")
        options = []
        for name in ("network", "seeds"):
            value = known.get(name) if isinstance(known, dict) else None
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            # They are printed to be pasted into a shell, and the run may be somebody else's.
            if value is not None and re.fullmatch(r"[\w,.-]+", text):
                options.append(f"--{name} {text}")
        return " ".join(options)

    @property
    def counted(self) -> int:
        """How many stimuli were there when the tables were written."""
        return sum(count for key in ("made", "kept") if type(count := self.content.get(key)) is int)

    def findings(self, right: Mapping[str, Any], records: int) -> Iterator[Finding]:
        """Yield numbers that are not those of the run, of which `records` stimuli have a record."""
        if self.problem:
            yield self.problem
            return
        if self.counted != records:
            text = f"counts {self.counted} stimuli made and kept, and {records} have a record"
            yield lost(FILE, text)
        counts = {key: self.content.get(key) for key in ("made", "kept")}
        if negative := [f"{key}: {n}" for key, n in counts.items() if isinstance(n, int) and n < 0]:
            yield wrong(FILE, f"says {', '.join(negative)}")
        lacking = [key for key, kind in LASTING.items() if not isinstance(self.content.get(key), kind)]
        if lacking:
            text = f"lacks {', '.join(lacking)}: it was lost or edited, and not all can be compared"
            yield incomplete(FILE, text)
        for key, value in right.items():
            found = self.content.get(key)
            if key not in lacking and found != value:
                text = f"says {key}: {json.dumps(found)}, and it is {json.dumps(value)}"
                yield wrong(FILE, text, TABLES)

    def networks_findings(self, recorded: Sequence[tuple[str, str]]) -> Iterator[Finding]:
        """Yield weights that are not named: `recorded` has networks and SHA-256 of their tensors."""
        networks = self.content.get("networks")
        if self.problem or not isinstance(networks, list):
            return
        named = {(one.get("name"), one.get("tensors_sha256")) for one in networks if isinstance(one, dict)}
        for network, tensors in recorded:
            if (network, tensors) not in named:
                text = f"does not name the weights of {network} that records name: {tensors}"
                yield wrong(FILE, text)


def read_failures(folder: RunFolder) -> tuple[dict[str, list[str]], Finding | None]:
    """Return the rows of failures.csv by stimulus id, and what is wrong with the file."""
    path = folder.path / "failures.csv"
    try:
        header, *rows = rows_of(read_regular(path))
    except UnreadableError as error:
        return {}, lost(path.name, str(error), cures_at(path, TABLES))
    if header != [column.name for column in FAILURES]:
        return {}, wrong(path.name, "has another header than stimgen writes", TABLES)
    return {row[0]: row for row in rows}, None


def failures_findings(
    failures: Collection[str], planned: Collection[str], made: Collection[str]
) -> Iterator[Finding]:
    """Yield stimuli in failures.csv that the manifest does not ask for, or that were made."""
    if unknown := [name for name in failures if name not in planned]:
        text = f"has stimuli that the manifest does not ask for: {some(unknown)}"
        yield wrong("failures.csv", text, TABLES)
    if present := [name for name in failures if name in made]:
        yield lost("failures.csv", f"has stimuli that were made: {some(present)}")


def manifest_findings(folder: RunFolder, summary: Summary) -> Iterator[Finding]:
    """Yield manifests that are not those whose hash is in run.json."""
    recorded = summary.content.get("manifest_sha256")
    for name in MANIFESTS:
        try:
            content = read_regular(folder.path / name)
        except UnreadableError as error:
            yield wrong(name, str(error), cures_at(folder.path / name))
            continue
        if isinstance(recorded, dict) and recorded.get(name) != sha256(content):
            yield wrong(name, "is not the one that the run was made with: run.json has another SHA-256 of it")
