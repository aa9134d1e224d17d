"""A run folder: where things are, written so that a reader never sees half a file."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from stimgen.atomic import TEMPORARY, make_folder, writing
from stimgen.bounded import UnreadableError, read_file, read_regular
from stimgen.errors import NO_SPACE, InputError, StimgenError, is_full
from stimgen.manifest.schema import ID_PATTERN
from stimgen.runs import lock
from stimgen.runs.record import (
    SEAL,
    Record,
    RecordError,
    optimised_name,
    parse_record,
    png_name,
    record_name,
    values_problem,
)

MOST_BYTES = 2**26
"""Largest file of a run that is read whole, except for its tables: a record with 10⁵ losses has 5 MB."""
LASTING = {"manifest_sha256": dict, "networks": list, "versions": dict, "stimuli_sha256": str}
"""Keys of run.json that only the run that made the stimuli knows, with their types."""
VARYING = {
    "records/*.json": ("made", SEAL),
    "records/*/*.json": ("made", SEAL),
    "run.json": ("started", "finished", "made", "kept"),
}
"""Keys that depend on when and in how many goes a run was made, by pattern of the file.

Everything else in a run folder is the same, byte for byte, however often the run was interrupted."""
DESKTOP_FILES = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""Files that file managers leave in folders."""
PREVIEW_MARK = b"<!doctype html>\n<!-- stimgen preview -->\n"
"""First bytes of a preview, which tell it from other files of that name."""
MOST_FLAT = 10_000
"""Largest number of stimuli in one folder: file managers and network disks are slow with more."""
CHECKPOINT = re.compile(r"[0-9a-f]{64}\.safetensors")
FORMAT = 4
"""Format of run folders, in run.json."""
WRITABLE = "Make it one that you may write to; stimgen run takes another folder with --out."


class StoreError(StimgenError):
    """The run folder cannot be written, which ends the run."""


@contextlib.contextmanager
def storing(place: object, done: str, cure: str) -> Iterator[None]:
    """Raise StoreError where something in the block fails on disk: `place` cannot be `done`.

    What mends it is `cure`, unless the disk is full.
    """
    try:
        yield
    except OSError as error:
        remedy = NO_SPACE if is_full(error) else cure
        raise StoreError(f"{place} cannot be {done}: {error.strerror}.", remedy) from error


class RunFolder:
    """The folder of a run, and where its files are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stimuli, self.records, self.optimised = path / "stimuli", path / "records", path / "optimised"
        self.trials, self.figures, self.logs = path / "trials", path / "figures", path / "logs"
        self.checkpoints, self.shards = path / "checkpoints", path / "shards"
        self.preview = path / "preview.html"

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints, and their folder if nothing else is in it. The folder must be locked."""
        for path in self.checkpoints.glob("*.safetensors"):
            if CHECKPOINT.fullmatch(path.name):
                remove_file(path)
        with contextlib.suppress(OSError):  # other files are left, or there never was a folder
            self.checkpoints.rmdir()

    def shard_folders(self) -> list[Path]:
        """Return the existing folders of shards, in order."""
        if self.shards.is_symlink():
            return []
        return sorted(path for path in self.shards.glob("*-of-*") if path.is_dir() and not path.is_symlink())

    def remove_preview(self) -> None:
        """Remove the preview of an earlier run; other files of that name stay."""
        if not self.has_other_preview():
            with contextlib.suppress(OSError):
                self.preview.unlink()

    def has_other_preview(self) -> bool:
        """Return whether a file that is no preview has its name."""
        try:
            return not read_file(self.preview, MOST_BYTES).startswith(PREVIEW_MARK)
        except OSError:
            return self.preview.exists() or self.preview.is_symlink()

    @functools.cached_property
    def is_spread(self) -> bool:
        """Whether the files of stimuli are spread over subfolders. A run folder stays as it began.

        Any subfolder tells, because programs that copy folders may leave out empty ones.
        """
        return bool(self._subfolders())

    def _subfolders(self, *, existing: bool = True) -> list[Path]:
        """Return the subfolders of records, images and PNG files that there are, or all that there can be."""
        places = (self.records, self.optimised, self.stimuli)
        names = {f"{number:02x}" for number in range(256)}
        if not existing:
            return [place / name for place in places for name in sorted(names)]
        # One look at a folder is faster than 256 at what may be in it.
        there = (path for place in places if place.is_dir() for path in sorted(place.iterdir()))
        return [path for path in there if path.name in names and path.is_dir()]

    def places(self) -> Iterator[tuple[Path, str]]:
        """Yield the folders that hold files of stimuli, with the suffix of these files."""
        suffixes = {self.stimuli: ".png", self.records: ".json", self.optimised: ".safetensors"}
        yield from ((folder, suffix) for folder, suffix in suffixes.items() if folder.is_dir())
        yield from ((folder, suffixes[folder.parent]) for folder in self._subfolders())

    def filename(self, stimulus_id: str) -> str:
        """Return the PNG file of a stimulus, relative to the run folder."""
        return png_name(stimulus_id, spread=self.is_spread)

    def record_name(self, stimulus_id: str) -> str:
        """Return the record of a stimulus, relative to the run folder."""
        return record_name(stimulus_id, spread=self.is_spread)

    def png(self, stimulus_id: str) -> Path:
        """Return the PNG file of a stimulus."""
        return self.path / self.filename(stimulus_id)

    def record(self, stimulus_id: str) -> Path:
        """Return the record of a stimulus."""
        return self.path / self.record_name(stimulus_id)

    def image(self, stimulus_id: str) -> Path:
        """Return the file of the optimised image of a stimulus."""
        return self.path / optimised_name(stimulus_id, spread=self.is_spread)

    def files(self, stimulus_id: str) -> tuple[Path, ...]:
        """Return the files of a stimulus; the record is last, which tells that the others are stimgen's."""
        return self.png(stimulus_id), self.image(stimulus_id), self.record(stimulus_id)

    def names(self, stimulus_id: str) -> tuple[str, ...]:
        """Return the files of a stimulus, relative to the run folder."""
        return tuple(path.relative_to(self.path).as_posix() for path in self.files(stimulus_id))

    def prepare(self, stimuli: int = 0) -> None:
        """Make the folders; with more than `MOST_FLAT` stimuli, a new run gets subfolders."""
        place = f"The run folder {self.path}"
        with storing(place, "read", "Choose a folder of yours with --out, or mend this one."):
            # Workers leave logs before a run begins, and Snakemake makes the folders of shards.
            foreign = self.path.is_dir() and not {*self.path.iterdir()} <= {self.logs, self.shards}
            foreign = foreign and not self.records.is_dir() and "stimuli" not in self.read_summary()
        if foreign:
            raise InputError(
                f"{self.path} is not empty and holds no stimgen run.",
                "Choose an empty or new folder with --out.",
            )
        self.refuse_newer()
        self.refuse_links()
        with storing(place, "made", WRITABLE):
            # The records first: a folder that has them is a run, whatever else is missing.
            for folder in (self.records, self.optimised, self.stimuli):
                make_folder(folder)
            if self._subfolders() or (stimuli > MOST_FLAT and not self.unplanned_names(())):
                for folder in self._subfolders(existing=False):
                    make_folder(folder)
            self.__dict__.pop("is_spread", None)

    def refuse_links(self) -> None:
        """Raise InputError if a folder inside the run folder is a symbolic link; it may be one itself."""
        own = (self.stimuli, self.records, self.optimised, self.trials, self.figures, self.logs)
        for path in (*own, self.checkpoints, self.shards, *self._subfolders(), self.path / lock.LOCK):
            if path.is_symlink():
                raise InputError(
                    f"{path} is a symbolic link, and stimgen would write outside of the run folder.",
                    f"Put what it leads to in its place, or link the whole folder {self.path}.",
                )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder, and remove the unfinished files of killed runs."""
        self.refuse_links()
        with contextlib.ExitStack() as held:
            with storing(f"The run folder {self.path}", "locked", WRITABLE):
                held.enter_context(lock.locked(self.path))
                for shard in self.shard_folders():
                    lock.refuse_at_work(shard)
                self.remove_leftovers()
            yield

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of killed processes. The folder must be locked."""
        places = (place for place, _ in self.places())
        shards = (self.shards, *self.shard_folders())
        for folder in (self.path, *places, self.trials, self.checkpoints, *shards):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                if leftover.is_file() or leftover.is_symlink():
                    leftover.unlink(missing_ok=True)

    def read_record(self, stimulus_id: str) -> Record | None:
        """Return the record of a stimulus; None where `checked_record` raises an error."""
        with contextlib.suppress(RecordError):
            return self.checked_record(stimulus_id)
        return None

    def checked_record(self, stimulus_id: str, *, may_be_link: bool = True) -> Record:
        """Return the record of a stimulus; RecordError if it is missing, damaged, altered or of another."""
        try:
            read = read_file if may_be_link else read_regular
            record = parse_record(read(self.record(stimulus_id), MOST_BYTES))
        except FileNotFoundError:
            raise RecordError("is missing") from None
        except OSError as error:
            raise RecordError(f"cannot be read: {error.strerror}") from None
        except UnreadableError as error:
            raise RecordError(str(error), getattr(error, "altered", None)) from None
        if record.stimulus_id != stimulus_id:
            raise RecordError(f"is the record of {record.stimulus_id}")
        if record.filename != self.filename(stimulus_id):
            raise RecordError(f"names the file {record.filename}, which is not where this run has it")
        if problem := values_problem(record):
            raise RecordError(problem)
        return record

    def fingerprint(self, png_sha256: Mapping[str, str]) -> str:
        """Return `stimuli_sha256` of run.json from the SHA-256 of the PNG file of each stimulus, by id.

        It is the SHA-256 of what sha256sum prints of all PNG files (`fingerprint_command`).
        """
        total = hashlib.sha256()
        for name, found in sorted((self.filename(name), found) for name, found in png_sha256.items()):
            total.update(f"{found}  {name}\n".encode())
        return total.hexdigest()

    @property
    def fingerprint_command(self) -> str:
        """A shell command that computes `stimuli_sha256` in the run folder, with LC_ALL=C."""
        if self.is_spread:
            return "find stimuli -name '*.png' | sort | xargs sha256sum | sha256sum"
        return "sha256sum stimuli/*.png | sha256sum"

    def unplanned_names(self, planned: Collection[str]) -> tuple[str, ...]:
        """Return the names, without endings, of files of stimuli that are not planned."""
        found = {path.stem for place, ending in self.places() for path in place.glob(f"*{ending}")}
        return tuple(sorted(found - {*planned}))

    def read_summary(self) -> dict[str, Any]:
        """Return the content of run.json, empty if it cannot be read."""
        try:
            summary = json.loads(read_file(self.path / "run.json", MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def noted_lists(self) -> dict[str, str]:
        """Return the SHA-256 of the trial lists in run.json, by id; other names could be paths."""
        noted = self.read_summary().get("trial_lists")
        entries = noted.items() if isinstance(noted, dict) else ()
        return {name: str(found) for name, found in entries if re.fullmatch(ID_PATTERN, name)}

    def refuse_newer(self) -> None:
        """Raise InputError for a run of another format, with the version that made it."""
        summary = self.read_summary()
        found, versions = summary.get("format", FORMAT), summary.get("versions")
        if found == FORMAT:
            return
        by = f" {versions['stimgen']}" if isinstance(versions, dict) and "stimgen" in versions else ""
        older = isinstance(found, int) and found < FORMAT
        raise InputError(
            f"{self.path} is a run of {'an older' if older else 'a newer'} stimgen{by}: "
            f"it has format {found}, and this stimgen reads only format {FORMAT}.",
            "Run the manifest again in another folder (--out)."
            if older
            else "Update stimgen, or choose another folder with --out.",
        )


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that is there whole or not at all, also after a power failure (or StoreError)."""
    with writing_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_file(path: Path) -> None:
    """Remove a file if it exists; StoreError if it cannot be removed."""
    with storing(path, "removed", "Remove it, then run again."), contextlib.suppress(NotADirectoryError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written piece by piece, as `write_atomically` does."""
    with storing(path, "written", "Free the disk or mend the folder, then run again."), writing(path) as file:
        yield file
