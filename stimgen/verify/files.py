"""The files of a run: which are not the run's, and whether a PNG file is what it should be."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from stimgen.atomic import TEMPORARY
from stimgen.errors import StimgenError
from stimgen.images.pixels import ImageError
from stimgen.images.png import decode_png
from stimgen.runs.columns import RUN_TABLES
from stimgen.runs.lock import LOCK, OWNER, refuse_held
from stimgen.runs.record import Record, png_name, record_name
from stimgen.runs.regular_files import UnreadableError, read_regular
from stimgen.runs.store import DESKTOP_FILES, RunFolder, sha256
from stimgen.runs.strangers import Strangers
from stimgen.verify.finding import Finding, cures_at, incomplete, warning, wrong

TEXTS = ("manifest.yaml", "manifest.resolved.yaml", "run.json")
"""Files of a run beside its tables."""
REPORT = "report.html"
PREVIEW = "preview.html"
"""For people to look at; not compared with anything."""
OWN_FILES = frozenset(
    (
        *TEXTS,
        REPORT,
        PREVIEW,
        LOCK,
        OWNER,
        *(f"{name}{ending}" for name in RUN_TABLES for ending in (".csv", ".json")),
    )
)
OWN_FOLDERS = frozenset(("stimuli", "records", "trials", "checkpoints", "figures", "shards", "logs"))
PNG_CHUNKS = frozenset((b"IHDR", b"IDAT", b"IEND"))
"""All that `stimgen.images.png.encode_png` writes: no gamma, profile, text or time."""
NOT_ASKED = "is not of a stimulus that the manifest asks for"
REMOVABLE = "it is as stimgen wrote it, and kept: stimgen run with --prune removes it"
KILLED = "is the unfinished file of a run that was killed; the next run removes it"


def refuse_a_run_at_work(folder: RunFolder) -> None:
    """Raise if a run or a shard is at work in a folder; the folder may be read-only.

    Raises
    ------
    LockError
        If a lock is held.
    """
    for path in (folder.path, *folder.shard_folders()):
        refuse_held(path)


def look_at_folder(
    folder: RunFolder, planned: Collection[str], strangers: Strangers, overrides: str
) -> Iterator[Finding]:
    """Yield what is in a run folder and is not the run's.

    What is missing, and what is in trials/, is looked at elsewhere.

    Parameters
    ----------
    folder
        The run.
    planned
        Ids of the stimuli that its manifest asks for.
    strangers
        What is in the folder and not asked for.
    overrides
        Options of the command line that changed what was asked for.
    """
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
    reasons = dict(strangers.others)
    own, removable = _names(folder, planned), _names(folder, strangers.stimuli)
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
                with_options = f" (the run was made with {overrides})" if overrides else ""
                yield warning(place, f"{NOT_ASKED}{with_options}; {REMOVABLE}")
            else:
                why = f": {reasons[place]}" if place in reasons else ""
                yield wrong(place, f"{NOT_ASKED}{why}", ("remove",))


def _names(folder: RunFolder, ids: Collection[str]) -> frozenset[str]:
    spread = folder.is_spread
    return frozenset(name(one, spread=spread) for one in ids for name in (png_name, record_name))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def png_findings(folder: RunFolder, record: Record) -> Iterator[Finding]:
    """Yield what is wrong with the PNG file of a record."""
    cures = cures_at(folder.png(record.stimulus_id))
    yield from (wrong(record.filename, problem, cures) for problem in _png_problems(folder, record))


def _png_problems(folder: RunFolder, record: Record) -> Iterator[str]:
    try:
        content = read_regular(folder.png(record.stimulus_id))
    except UnreadableError as error:
        yield str(error)
        return
    found = sha256(content)
    if found != record.png_sha256:
        yield f"was altered: its SHA-256 is {found}, and the record says {record.png_sha256}"
    try:
        pixels = decode_png(content)
    except (ImageError, StimgenError) as error:
        yield f"cannot be read as a stimulus: {error.problem.removeprefix('The PNG data ')}"
        return
    side, color = record.image.size_px, "grey" if pixels.ndim == 2 else "rgb"
    if pixels.shape[:2] != (side, side):
        yield f"is {pixels.shape[1]} × {pixels.shape[0]} px, and the record says {side} × {side} px"
    if color != record.image.color:
        yield f"is {color}, and the record says {record.image.color}"
    if more := sorted(name.decode("latin-1") for name in set(_chunks(content)) - PNG_CHUNKS):
        yield f"has {', '.join(more)} beside its pixels, which stimgen never writes"


def _chunks(png: bytes) -> Iterator[bytes]:
    """Yield the names of the chunks of a PNG file that can be decoded."""
    place = 8
    while place + 8 <= len(png):
        yield png[place + 4 : place + 8]
        place += 12 + int.from_bytes(png[place : place + 4], "big")
