"""The files of a run beside records and tables: what belongs to it, run.json, manifests, sources, weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stimgen.atomic import TEMPORARY
from stimgen.bounded import UnreadableError, read_regular
from stimgen.counting import first_few
from stimgen.errors import StimgenError
from stimgen.images.masks import mask_identity
from stimgen.images.png import decode_png
from stimgen.images.sources import SourceSpec
from stimgen.manifest.schema import NetworkSpec
from stimgen.runs.columns import FAILURES, RUN_TABLES
from stimgen.runs.csv_files import rows_of, unmarked
from stimgen.runs.lock import LOCK, OWNER
from stimgen.runs.recipe import known_weights, source_sha256
from stimgen.runs.record import Record, SourceRecord
from stimgen.runs.store import DESKTOP_FILES, LASTING, RunFolder, sha256
from stimgen.runs.tables import Failure
from stimgen.runs.unplanned import Unplanned
from stimgen.verify.finding import (
    ANEW,
    KILLED,
    NOT_OF_RUN,
    SOURCE,
    TABLES,
    Finding,
    cures_at,
    incomplete,
    lost,
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
OWN_FOLDERS = frozenset(
    ("stimuli", "records", "optimised", "trials", "checkpoints", "figures", "shards", "logs")
)
PNG_CHUNKS = frozenset((b"IHDR", b"IDAT", b"IEND"))
"""All that `stimgen.images.png.encode_png` writes: no gamma, profile, text or time."""
NOT_ASKED = "is not of a stimulus that the manifest asks for"
ONLY_BY_READING = "weights whose SHA-256 is compared with that in the records only by --recompute"


def folder_findings(folder: RunFolder, unplanned: Unplanned, overrides: str) -> Iterator[Finding]:
    """Yield what is in a run folder and does not belong to the run; the folder trials/ is left out."""
    for path in sorted(folder.path.iterdir()):
        name = path.name
        if name.startswith(TEMPORARY):
            yield incomplete(name, KILLED)
        elif name == OWNER:
            yield incomplete(name, "is of a run that was killed, or is at work on another machine")
        elif name not in OWN_FILES | OWN_FOLDERS:
            yield warning(name, NOT_OF_RUN)
        elif path.is_symlink():
            yield wrong(name, "is a symbolic link, and not a part of this run", cures=ANEW)
        elif path.is_dir() != (name in OWN_FOLDERS):
            yield wrong(name, "is a folder" if path.is_dir() else "is not a folder", cures=ANEW)
    for inner in (folder.stimuli, folder.records):
        if not os.path.lexists(inner):
            yield wrong(inner.name, "is missing")
    for place, _ in folder.places():
        name = place.relative_to(folder.path).as_posix()
        if place.is_symlink() and "/" in name:
            yield wrong(name, "is a symbolic link, and not a part of this run", cures=("remove",))
        yield from (
            warning(f"{name}/{file}", NOT_OF_RUN)
            for file in sorted(DESKTOP_FILES)
            if os.path.lexists(place / file)
        )
    for file, reason in unplanned.others:
        if Path(file).name.startswith(TEMPORARY):
            yield incomplete(file, KILLED)
        else:
            yield wrong(file, f"{NOT_ASKED}: {reason}", cures=("remove",))
    options = f" (the run was made with {overrides})" if overrides else ""
    text = f"{NOT_ASKED}{options}; it is unaltered and kept: stimgen run with --prune removes it"
    files = [name for one in unplanned.stimuli for name in folder.names(one)]
    yield from (warning(file, text) for file in files if os.path.lexists(folder.path / file))


def png_problem(folder: RunFolder, record: Record, *, decode: bool) -> str | None:
    """Return what is wrong with the PNG file of a record, as the rest of a sentence."""
    try:
        content = read_regular(folder.png(record.stimulus_id))
    except UnreadableError as error:
        return str(error)
    if (found := sha256(content)) != record.png_sha256:
        return f"was altered: its SHA-256 is {found}, and the record says {record.png_sha256}"
    if not decode:
        return None
    try:
        pixels = decode_png(content)
    except StimgenError as error:
        return f"cannot be read as a stimulus: {error.problem.removeprefix('The PNG data ')}"
    problems = []
    side, color = record.image.size_px, "grey" if pixels.ndim == 2 else "rgb"
    if pixels.shape[:2] != (side, side):
        found_size = f"{pixels.shape[1]} × {pixels.shape[0]}"
        problems.append(f"is {found_size} px, and the record says {side} × {side} px")
    if color != record.image.color:
        problems.append(f"is {color}, and the record says {record.image.color}")
    if (bits := content[24]) != record.image.bits:  # the bit depth in a PNG file's header
        problems.append(f"has {bits} bits, and the record says {record.image.bits}")
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
    for spec in (spec for spec in sources if spec.id in recorded):
        found, known = source_sha256(spec), recorded[spec.id].sha256
        if found is None:
            gone.append(spec.image)
        elif found != known:
            text = f"is another file than the one that the source {spec.id} was made of"
            both = f"its SHA-256 is {found}, and the records say {known}"
            yield warning(spec.image, f"{text}: {both}", cures=SOURCE)
        if isinstance(spec.mask, Path) and recorded[spec.id].mask is not None:
            if not spec.mask.is_file():
                gone.append(spec.mask.name)
            elif mask_identity(spec.mask) != recorded[spec.id].mask:
                text = f"is another file than the one that was the mask of the source {spec.id}"
                yield warning(spec.mask.name, text, cures=SOURCE)
    if gone:
        text = "not at hand, so not compared with the SHA-256 in the records"
        yield unchecked(first_few(gone), text, cures=SOURCE)


def weights_findings(recorded: Mapping[NetworkSpec, str]) -> Iterator[Finding]:
    """Yield weights that are others now, or cannot be compared without reading them."""
    for (name, weights), found in {(one.name, one.weights): sha for one, sha in recorded.items()}.items():
        known = known_weights(name, weights)
        file = f"{name} {Path(weights).name}"
        if known is None:
            yield unchecked(file, ONLY_BY_READING)
        elif known.tensors_sha256 != found:
            text = f"has tensors with the SHA-256 {known.tensors_sha256} here, and the records say {found}"
            yield warning(file, text, cures=SOURCE)


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
            return cls({}, wrong(FILE, str(error), cures=cures_at(folder.path / FILE)))
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

    def findings(
        self, right: Mapping[str, Any], records: int, weights: Mapping[NetworkSpec, str]
    ) -> Iterator[Finding]:
        """Yield what is not that of the run, of which `records` stimuli have a record."""
        if self.problem:
            yield self.problem
            return
        if self.counted != records:
            yield lost(FILE, f"counts {self.counted} stimuli made and kept, and {records} have a record")
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
                yield wrong(FILE, text, cures=TABLES)
        networks = [] if "networks" in lacking else self.content["networks"]
        named = {(one.get("name"), one.get("tensors_sha256")) for one in networks if isinstance(one, dict)}
        for spec, tensors in weights.items():
            if "networks" not in lacking and (spec.name, tensors) not in named:
                yield wrong(FILE, f"does not name the weights of {spec.name} that records name: {tensors}")


def read_failures(folder: RunFolder) -> tuple[dict[str, Failure], list[Finding]]:
    """Return what failures.csv says by stimulus id, and what is wrong with the file."""
    path = folder.path / "failures.csv"
    try:
        header, *rows = rows_of(read_regular(path))
    except UnreadableError as error:
        return {}, [lost(path.name, str(error), cures=cures_at(path, TABLES))]
    failures = {row[0]: Failure(*map(unmarked, row)) for row in rows if len(row) == len(FAILURES)}
    if header != [column.name for column in FAILURES]:
        return failures, [wrong(path.name, "has another header than stimgen writes", cures=TABLES)]
    return failures, []


def failures_findings(
    failures: Collection[str], planned: Collection[str], made: Collection[str]
) -> Iterator[Finding]:
    """Yield stimuli in failures.csv that the manifest does not ask for, or that were made."""
    if unknown := [name for name in failures if name not in planned]:
        text = f"has stimuli that the manifest does not ask for: {first_few(unknown)}"
        yield wrong("failures.csv", text, cures=TABLES)
    if present := [name for name in failures if name in made]:
        yield lost("failures.csv", f"has stimuli that were made: {first_few(present)}")


def manifest_findings(folder: RunFolder, summary: Summary) -> Iterator[Finding]:
    """Yield manifests that are not those whose hash is in run.json."""
    recorded = summary.content.get("manifest_sha256")
    for name in MANIFESTS:
        try:
            content = read_regular(folder.path / name)
        except UnreadableError as error:
            yield wrong(name, str(error), cures=cures_at(folder.path / name))
            continue
        if isinstance(recorded, dict) and recorded.get(name) != sha256(content):
            yield wrong(name, "is not the one that the run was made with: run.json has another SHA-256 of it")
