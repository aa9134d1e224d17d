"""What lies in a run folder and is not what its manifest asks for; and what of that stimgen may remove."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from stimgen.bounded import UnreadableError, read_regular
from stimgen.runs.csv_files import data_dictionary, rows_of, to_json
from stimgen.runs.steps import read_image
from stimgen.runs.store import DESKTOP_FILES, RunFolder, sha256, storing
from stimgen.trials import DESIGNS, design_columns


@dataclass(frozen=True)
class Unplanned:
    """What a manifest does not ask for, in the run folder."""

    stimuli: tuple[str, ...]
    trial_lists: tuple[str, ...]
    others: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        """Return whether there is anything to remove."""
        return bool(self.stimuli or self.trial_lists)

    def only(self, other: Unplanned) -> Unplanned:
        """Return what is also in `other`, among what can be removed."""
        stimuli, lists = frozenset(other.stimuli), frozenset(other.trial_lists)
        return Unplanned(
            tuple(name for name in self.stimuli if name in stimuli),
            tuple(name for name in self.trial_lists if name in lists),
            self.others,
        )


def find_unplanned(folder: RunFolder, planned: Collection[str], lists: Collection[str]) -> Unplanned:
    """Return what in a run folder is not asked for, and is known to be stimgen's or not."""
    stimuli, old = [], []
    others: list[tuple[Path, str]] = [(path, "stimgen writes no such file") for path in _foreign(folder)]
    for name in folder.unplanned_names(planned):
        problem = _not_ours(folder, name)
        if problem is None:
            stimuli.append(name)
        else:
            others += [(path, problem) for path in filter(os.path.lexists, folder.files(name))]
    for name, recorded in sorted(folder.noted_lists().items()):
        path = folder.trials / f"{name}.csv"
        if name in lists or not os.path.lexists(path):
            continue
        try:
            same = sha256(read_regular(path)) == recorded
        except UnreadableError:
            same = False
        if same:
            old.append(name)
        else:
            others.append((path, "it is not as stimgen run wrote it"))
    named = sorted((path.relative_to(folder.path).as_posix(), problem) for path, problem in others)
    return Unplanned(tuple(stimuli), tuple(old), tuple(named))


def remove_unplanned(folder: RunFolder, which: Unplanned) -> tuple[str, ...]:
    """Remove stimuli with their records, and trial lists with their dictionaries; return the files' names.

    To be called while the folder is locked, with what `find_unplanned` has just returned.
    """
    removed = []
    for path in _to_remove(folder, which):
        with storing(path, "removed", "Mend the folder, then run again with --prune."):
            path.unlink(missing_ok=True)
        removed.append(path.relative_to(folder.path).as_posix())
    return tuple(removed)


def _to_remove(folder: RunFolder, which: Unplanned) -> Iterator[Path]:
    for stimulus_id in which.stimuli:
        yield from filter(os.path.lexists, folder.files(stimulus_id))
    for name in which.trial_lists:
        table, dictionary = folder.trials / f"{name}.csv", folder.trials / f"{name}.json"
        if _is_dictionary_of(table, dictionary):
            yield dictionary
        yield table


def _not_ours(folder: RunFolder, name: str) -> str | None:
    """Return why the files of a stimulus may not be removed; None if stimgen wrote them as they are."""
    path = folder.record(name)
    if not path.is_file() or path.is_symlink():
        return "it has no record, so it may not be stimgen's"
    record = folder.read_record(name)
    if record is None:
        return "its record is damaged, altered or of another stimulus"
    try:
        read_image(folder, record)
    except UnreadableError as error:
        return f"the optimised image {error}"
    try:
        same = sha256(read_regular(folder.png(name))) == record.png_sha256
    except UnreadableError as error:
        return f"the PNG {error}" if os.path.lexists(folder.png(name)) else None
    return None if same else "the PNG was altered since stimgen wrote it"


def _is_dictionary_of(table: Path, dictionary: Path) -> bool:
    try:
        header = next(rows_of(read_regular(table)))
        content = read_regular(dictionary)
    except UnreadableError:
        return False
    designs = [name for name in DESIGNS if header == [column.name for column in design_columns(name)]]
    return any(content == to_json(data_dictionary(f"trials_{name}", header)).encode() for name in designs)


def _foreign(folder: RunFolder) -> Iterator[Path]:
    """Yield what lies among the files of stimuli and has not the place of one."""
    places = dict(folder.places())
    for place in places:
        for path in sorted(place.iterdir()):
            if path not in folder.files(path.stem) and path not in places and path.name not in DESKTOP_FILES:
                yield path
