"""A run folder: where things are, written so that a reader never sees half a file."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from stimgen.atomic import TEMPORARY, make_folder, writing
from stimgen.bounded import read_file
from stimgen.errors import InputError, StimgenError
from stimgen.manifest.schema import ID_PATTERN
from stimgen.runs import lock
from stimgen.runs.record import MOST_BYTES as MOST_BYTES
from stimgen.runs.record import SEAL, Record, RecordError, png_name, read_record, record_name

LASTING = {"manifest_sha256": dict, "networks": list, "versions": dict, "stimuli_sha256": str}
"""What run.json has from the run that made the stimuli, with its type; the rest can be counted again."""

VARYING = {
    "records/*.json": ("made", SEAL),
    "records/*/*.json": ("made", SEAL),
    "run.json": ("started", "finished", "made", "kept"),
}
"""What depends on when and in how many goes a run was made: keys of files, by the files' pattern.

All else in a run folder is the same, byte for byte, however often the run was interrupted."""


DESKTOP_FILES = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""What file managers leave wherever somebody looks."""
PREVIEW_MARK = b"<!doctype html>\n<!-- stimgen preview -->\n"
"""What a preview begins with, so that it can be told from a file of somebody else."""

MOST_FLAT = 10_000
"""Most stimuli of a run whose files lie in one folder: file managers and network disks are slow with more."""
SUBFOLDERS = tuple(f"{number:02x}" for number in range(256))
"""Where the files of a larger run lie, as `stimgen.runs.record.png_name` says."""

CHECKPOINT = re.compile(r"[0-9a-f]{64}\.safetensors")
"""Names of checkpoints."""

FORMAT = 2
"""Of run folders, in run.json. To be raised when an older stimgen would take what is there for damaged."""


class StoreError(StimgenError):
    """The run folder cannot be written: the run ends, because no other stimulus could be kept either."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run remembers of a stimulus that is done; the rest stays on disk, however large the set is.

    Attributes
    ----------
    png_sha256, record_sha256
        Of its PNG file, and the seal of its record.
    networks
        Name and SHA-256 of the tensors of the networks that made and measured it.
    """

    png_sha256: str
    record_sha256: str | None
    networks: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return what is remembered of a record."""
        networks = tuple((one.name, one.tensors_sha256) for one in (record.network, record.measured_in))
        return cls(record.png_sha256, record.record_sha256, networks)


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    @property
    def stimuli(self) -> Path:
        """Folder of the PNG files."""
        return self.path / "stimuli"

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.path / "records"

    @property
    def trials(self) -> Path:
        """Folder of the trial lists; there if the manifest asks for any."""
        return self.path / "trials"

    @property
    def figures(self) -> Path:
        """Folder of figures, unless they were written elsewhere."""
        return self.path / "figures"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints; there while a run works, or after it was interrupted."""
        return self.path / "checkpoints"

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints, and their folder if nothing else is in it; for whoever holds the lock.

        Raises
        ------
        StoreError
            If a file cannot be removed.
        """
        for path in self.checkpoints.glob("*.safetensors"):
            if CHECKPOINT.fullmatch(path.name):  # else somebody else's
                remove_file(path)
        with contextlib.suppress(OSError):  # files are left, or there never was a folder
            self.checkpoints.rmdir()

    @property
    def shards(self) -> Path:
        """Folder of the shards; there if some were made one by one."""
        return self.path / "shards"

    def shard_folders(self) -> list[Path]:
        """Return the folders of shards that there are, in order."""
        if self.shards.is_symlink():
            return []
        return sorted(path for path in self.shards.glob("*-of-*") if path.is_dir() and not path.is_symlink())

    @property
    def logs(self) -> Path:
        """Folder of what workers say; there if the run had any."""
        return self.path / "logs"

    @property
    def preview(self) -> Path:
        """The page that shows a run while it works."""
        return self.path / "preview.html"

    def remove_preview(self) -> None:
        """Remove the preview of an earlier run, if it can be; a file of that name that is none stays."""
        try:
            if read_file(self.preview, MOST_BYTES).startswith(PREVIEW_MARK):
                self.preview.unlink()
        except OSError:  # there is none, or it cannot be removed: nothing depends on it
            pass

    def has_other_preview(self) -> bool:
        """Return whether there is something in the place of the preview that is none."""
        try:
            return not read_file(self.preview, MOST_BYTES).startswith(PREVIEW_MARK)
        except OSError:
            return self.preview.exists() or self.preview.is_symlink()

    @functools.cached_property
    def is_spread(self) -> bool:
        """Whether PNG files and records are spread over subfolders. A run folder stays as it began.

        Looked at once: it does not change while a run is at work. Any subfolder tells, because programs that
        copy folders may leave out empty ones.
        """
        places = itertools.product((self.records, self.stimuli), SUBFOLDERS)
        return any((place / name).is_dir() for place, name in places)

    def places(self) -> Iterator[tuple[Path, str]]:
        """Yield the folders that may hold PNG files or records, and how the names of these files end."""
        inner = SUBFOLDERS if self.is_spread else ()
        for place, ending in ((self.stimuli, ".png"), (self.records, ".json")):
            for folder in (place, *(place / name for name in inner)):
                if folder.is_dir():
                    yield folder, ending

    def filename(self, stimulus_id: str) -> str:
        """Return the file that is shown, relative to the run folder."""
        return png_name(stimulus_id, spread=self.is_spread)

    def record_name(self, stimulus_id: str) -> str:
        """Return the file of the record, relative to the run folder."""
        return record_name(stimulus_id, spread=self.is_spread)

    def png(self, stimulus_id: str) -> Path:
        """Return the file that is shown."""
        return self.path / self.filename(stimulus_id)

    def record(self, stimulus_id: str) -> Path:
        """Return the file of the record."""
        return self.path / self.record_name(stimulus_id)

    def prepare(self, stimuli: int = 0) -> None:
        """Make the folders.

        Parameters
        ----------
        stimuli
            How many there will be; with more than `MOST_FLAT`, a run that has none yet gets subfolders.

        Raises
        ------
        InputError
            If the folder holds something else than a run, a run of a newer stimgen, or one of its own folders
            is a link.
        StoreError
            If it cannot be made.
        """
        try:
            # Workers that were asked something before have a log, and Snakemake makes the folders of shards.
            before = {self.logs, self.shards}
            things = self.path.is_dir() and not {*self.path.iterdir()} <= before
            is_foreign = things and not self._is_run()
        except OSError as error:
            raise StoreError(
                f"The run folder {self.path} cannot be read: {error.strerror}.",
                "Choose a folder of yours with --out, or mend this one.",
            ) from error
        if is_foreign:
            raise InputError(
                f"{self.path} is not empty and holds no stimgen run.",
                "Choose an empty or new folder with --out.",
            )
        self.refuse_newer()
        self.refuse_links()
        try:
            self.__dict__.pop("is_spread", None)
            # The records first: a folder that has them is a run, whatever else is missing.
            make_folder(self.records)
            make_folder(self.stimuli)
            if self.is_spread or (stimuli > MOST_FLAT and not self._has_stimuli()):
                for place, name in itertools.product((self.records, self.stimuli), SUBFOLDERS):
                    make_folder(place / name)
            self.__dict__.pop("is_spread", None)
        except OSError as error:
            raise StoreError(
                f"The run folder {self.path} cannot be made: {error.strerror}.",
                "Choose a folder that you may write to with --out.",
            ) from error

    def _has_stimuli(self) -> bool:
        return any(path.suffix == ending for place, ending in self.places() for path in place.iterdir())

    def _is_run(self) -> bool:
        """Return whether there is a run in the folder, also one whose records somebody removed."""
        return self.records.is_dir() or "stimuli" in self.read_summary()

    def refuse_links(self) -> None:
        """Raise if a folder in the run folder is a symbolic link: nothing is written or removed elsewhere.

        The run folder itself may be one, and any folder above it.

        Raises
        ------
        InputError
            If there is one.
        """
        made = (self.stimuli, self.records, self.trials, self.figures, self.checkpoints)
        inner = (place / name for place in (self.stimuli, self.records) for name in SUBFOLDERS)
        folders = (*made, self.shards, self.logs, *(inner if self.is_spread else ()))
        for path in (*folders, self.path / lock.LOCK):
            if path.is_symlink():
                raise InputError(
                    f"{path} is a symbolic link, and stimgen would write outside of the run folder.",
                    f"Put what it leads to in its place, or link the whole folder {self.path}.",
                )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder while this one works.

        What a killed run was writing is removed: while the lock is held, nobody else writes.

        Raises
        ------
        LockError
            If another run or a shard is at work there, or may be.
        InputError
            If one of its own folders is a link.
        StoreError
            If the folder cannot be written.
        """
        self.refuse_links()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock.locked(self.path))
                for shard in self.shard_folders():
                    lock.refuse_held(shard)
                    lock.refuse_elsewhere(shard)
                self.remove_leftovers()
            except OSError as error:
                raise StoreError(
                    f"The run folder {self.path} cannot be locked: {error.strerror}.",
                    "Choose a folder that you may write to with --out.",
                ) from error
            yield

    def remove_leftovers(self) -> None:
        """Remove what processes that were killed had been writing; for whoever holds the lock.

        Raises
        ------
        OSError
            If one cannot be removed.
        """
        places = (place for place, _ in self.places())
        shards = (self.shards, *self.shard_folders())
        for folder in (self.path, *places, self.trials, self.checkpoints, *shards):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                if leftover.is_file() or leftover.is_symlink():  # a folder is somebody else's
                    leftover.unlink(missing_ok=True)

    def read_record(self, stimulus_id: str) -> Record | None:
        """Return the record of a stimulus, or None if there is none that can be read.

        A record that is damaged, altered or that of another stimulus counts as none: its stimulus is made
        again.
        """
        try:
            return self.checked_record(stimulus_id)
        except RecordError:
            return None

    def checked_record(self, stimulus_id: str) -> Record:
        """Return the record of a stimulus.

        Raises
        ------
        RecordError
            If it is missing, damaged, altered, or that of another stimulus.
        """
        return read_record(self.record(stimulus_id), stimulus_id, self.filename(stimulus_id))

    def finished(self, stimulus_id: str, recipe_sha256: str) -> Record | None:
        """Return the record of a stimulus that is done, else None.

        Done is a stimulus whose record is as it was written and has the recipe's hash, and whose PNG has the
        recorded hash.
        """
        record = self.read_record(stimulus_id)
        if record is None or record.recipe_sha256 != recipe_sha256:
            return None
        try:
            content = read_file(self.png(stimulus_id), MOST_BYTES)
        except OSError:
            return None
        return record if sha256(content) == record.png_sha256 else None

    def all_finished(
        self, recipes: Mapping[str, str], measured_with: Mapping[str, int]
    ) -> tuple[dict[str, Done], list[Record]]:
        """Return the stimuli that are done, and the records of those that were measured with other statistics.

        Parameters
        ----------
        recipes
            Hashes of the recipes, by stimulus id.
        measured_with
            The statistics that are asked for, with their versions.
        """
        done: dict[str, Done] = {}
        stale = []
        for name, recipe in recipes.items():
            if (record := self.finished(name, recipe)) is not None:
                done[name] = Done.of(record)
                if record.measured_with != measured_with:
                    stale.append(record)
        return done, stale

    def unplanned_names(self, planned: Collection[str]) -> tuple[str, ...]:
        """Return the names, without endings, of PNG files and records that are not planned."""
        found = {path.stem for place, ending in self.places() for path in place.glob(f"*{ending}")}
        return tuple(sorted(found - {*planned}))

    def read_summary(self) -> dict[str, Any]:
        """Return what run.json says, empty if there is none that can be read."""
        try:
            summary = json.loads(read_file(self.path / "run.json", MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def noted_lists(self) -> dict[str, str]:
        """Return the SHA-256 of the trial lists that run.json calls stimgen's, by id.

        What is no id is left out: it could be the path of a file elsewhere.
        """
        noted = self.read_summary().get("trial_lists")
        entries = noted.items() if isinstance(noted, dict) else ()
        return {name: str(found) for name, found in entries if re.fullmatch(ID_PATTERN, name)}

    def refuse_newer(self) -> None:
        """Raise InputError for a run in another format, whose records would count as damaged.

        Raises
        ------
        InputError
            With the version that made it.
        """
        summary = self.read_summary()
        found, versions = summary.get("format", FORMAT), summary.get("versions")
        if found == FORMAT:
            return
        by = f" {versions['stimgen']}" if isinstance(versions, dict) and "stimgen" in versions else ""
        if isinstance(found, int) and found < FORMAT:
            raise InputError(
                f"{self.path} is a run of an older stimgen{by}: it has format {found}, and this stimgen "
                f"reads format {FORMAT} only.",
                "Choose another folder with --out, or use that stimgen.",
            )
        raise InputError(
            f"{self.path} is a run of a newer stimgen{by}: it has format {found}, and this stimgen knows "
            f"formats up to {FORMAT}.",
            "Update stimgen, or choose another folder with --out.",
        )


def read_done(folder: RunFolder, ids: Sequence[str], done: Mapping[str, Done]) -> Iterator[Record]:
    """Yield the records of stimuli that are done, read from disk one after the other.

    Parameters
    ----------
    folder
        The run.
    ids
        Which stimuli, in the order in which they are wanted; those that are not done are left out.
    done
        What is remembered of those that are done.

    Raises
    ------
    StimgenError
        If a record is not the one that is remembered.
    """
    for stimulus_id in ids:
        if (known := done.get(stimulus_id)) is None:
            continue
        record = folder.read_record(stimulus_id)
        if record is None or record.record_sha256 != known.record_sha256:
            raise StimgenError(
                f"{folder.record(stimulus_id)} was altered or removed while stimgen was at work.",
                "Run again: what was altered is made again.",
            )
        yield record


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that it is there whole or not at all, also after a power failure.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    with writing_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_file(path: Path) -> None:
    """Remove a file that may be there.

    Raises
    ------
    StoreError
        If it cannot be removed.
    """
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed: {error.strerror}.", "Remove it, then run again."
        ) from error


@contextlib.contextmanager
def writing_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written piece by piece, as `write_atomically` writes one.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    try:
        with writing(path) as file:
            yield file
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.",
            "Free the disk or mend the folder, then run again.",
        ) from error
