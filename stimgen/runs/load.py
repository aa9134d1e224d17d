"""A run folder read back: its records, and the table of stimuli with absolute paths.

Needs neither torch nor PsychoPy, so that an experiment can read what it shows.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from stimgen.bounded import MOST_TABLE_BYTES, read_file
from stimgen.counting import counted, first_few
from stimgen.errors import InputError
from stimgen.manifest.document import shorten
from stimgen.runs.csv_files import WHOLE_NUMBERS
from stimgen.runs.lock import OWNER
from stimgen.runs.record import STIMULUS_ID, Record, RecordError
from stimgen.runs.store import MOST_BYTES, RunFolder, sha256

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""How many files a message names."""


class Records(Sequence[Record]):
    """The records of a run in the order of the plan, read from disk when they are asked for.

    `seals` are those that the records had when the run was read.
    """

    def __init__(self, folder: RunFolder, ids: Sequence[str], seals: Sequence[str | None]) -> None:
        self._folder = folder
        self._ids = ids
        self._seals = seals

    def __len__(self) -> int:
        """Return how many stimuli there are."""
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Records: ...
    def __getitem__(self, place: int | slice) -> Record | Records:
        """Return a record, or the records of some stimuli; raise InputError if a record has changed."""
        if isinstance(place, slice):
            return Records(self._folder, self._ids[place], self._seals[place])
        record = _record(self._folder, self._ids[place], "Read the run again.")
        if record.record_sha256 != self._seals[place]:
            path = self._folder.record(self._ids[place])
            raise InputError(f"The record {path} was replaced after the run was read.", "Read it again.")
        return record


@dataclass(frozen=True, eq=False)
class Run:
    """A run read back.

    Attributes
    ----------
    folder
        The run folder, absolute.
    name
        Name of the manifest.
    records
        The record of every stimulus, in the order of the manifest's plan. They are read from disk each time
        that they are asked for; ``tuple(run.records)`` keeps them.
    table
        stimuli.csv, one row per record in the same order, and a column `path`: the PNG file, absolute. The
        columns are described in stimuli.json; `seed`, `iterations`, `evaluations` and `restarts` are whole
        numbers that may be missing (Int64).
    """

    folder: Path
    name: str
    records: Sequence[Record]
    table: pd.DataFrame


def load_run(path: str | Path, *, check_hashes: bool = True, complete: bool = True) -> Run:
    """Read a run folder.

    Parameters
    ----------
    path
        The folder that ``stimgen run`` wrote.
    check_hashes
        Whether to compare every PNG file with the SHA-256 in its record.
    complete
        Whether to refuse a run that lacks stimuli of its manifest, because it was interrupted or some could
        not be made.

    Returns
    -------
    Run
        The stimuli of the run's last manifest. Other files in the folder are not in it.

    Raises
    ------
    InputError
        If the folder is no run, is one of a newer stimgen, lacks stimuli (with `complete`), a record is
        missing, damaged or altered, the table is not that of the records, a PNG file is missing or, with
        `check_hashes`, is not the one that its record describes.

    Examples
    --------
    >>> run = load_run("results/quickstart")  # doctest: +SKIP
    >>> run.table.loc[run.table["condition"] == "pool4", "path"]  # doctest: +SKIP
    """
    folder = RunFolder(Path(path).absolute())
    if not folder.records.is_dir():
        problem = "holds no stimgen run" if folder.path.is_dir() else "is no folder"
        raise InputError(
            f"{folder.path} {problem}.",
            "Name the folder that stimgen run wrote, such as results/NAME: it has the folder records.",
        )
    folder.refuse_newer()
    again = f"Run the manifest again with --out {folder.path}: what is there is kept, the rest made anew."
    table = _read_table(folder, again)
    ids, hashes = ([str(cell) for cell in table[name]] for name in ("stimulus_id", "png_sha256"))
    if strange := [name for name in ids if not re.fullmatch(STIMULUS_ID, name)]:
        raise InputError(f"{folder.path / 'stimuli.csv'} has the stimulus_id {shorten(strange[0])!r}.", again)
    summary = folder.read_summary()
    name, planned = summary.get("name"), summary.get("stimuli")
    if not isinstance(name, str) or not isinstance(planned, int):
        raise InputError(f"{folder.path / 'run.json'} is missing or damaged.", again)
    if complete and planned != len(ids):
        at_work = (folder.path / OWNER).exists()
        raise InputError(
            f"{folder.path} has {len(ids)} of the {counted(planned)} of its manifest"
            f"{': a run is at work there, or was killed' if at_work else ''}.",
            f"Wait for the run, or give its command again with --out {folder.path}." if at_work else again,
        )
    seals, stale, missing, altered = [], [], [], []
    for stimulus_id, png_sha256 in zip(ids, hashes, strict=True):
        record = _record(folder, stimulus_id, again)
        seals.append(record.record_sha256)
        png = folder.png(stimulus_id)
        if png_sha256 != f"sha256:{record.png_sha256}":
            stale.append(stimulus_id)
        elif not png.is_file():
            missing.append(record.filename)
        elif check_hashes and _sha256(png, again) != record.png_sha256:
            altered.append(record.filename)
    for problem, names in (
        ("stimuli.csv is not the table of these records: {}.", stale),
        (f"{folder.path} lacks {{}}.", missing),
        (f"Files in {folder.path} are not those that their records describe: {{}}.", altered),
    ):
        if names:
            raise InputError(problem.replace("{}", first_few(names, SHOWN)), again)
    import pandas as pd

    paths = pd.Series([str(folder.png(stimulus_id)) for stimulus_id in ids], table.index, dtype=object)
    # A copy lies in one piece, where adding a column to a wide table warns that it does not.
    return Run(folder.path, name, Records(folder, ids, seals), table.copy().assign(path=paths))


def _read_table(folder: RunFolder, cure: str) -> pd.DataFrame:
    import pandas as pd

    try:
        content = io.BytesIO(read_file(folder.path / "stimuli.csv", MOST_TABLE_BYTES))
        table = pd.read_csv(content, dtype=dict.fromkeys(WHOLE_NUMBERS, "Int64"))
        table[["stimulus_id", "png_sha256"]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{folder.path / 'stimuli.csv'} cannot be read: {error}.", cure) from None
    return table


def _record(folder: RunFolder, stimulus_id: str, cure: str) -> Record:
    try:
        return folder.checked_record(stimulus_id)
    except RecordError as error:
        raise InputError(f"The record {folder.record(stimulus_id)} {error}.", cure) from None


def _sha256(path: Path, cure: str) -> str:
    try:
        return sha256(read_file(path, MOST_BYTES))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", cure) from None
