"""Trial lists: read, and checked before anything is shown."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from experiments.shared.errors import ExperimentError

PLACES = {"oddity": ("left", "right", "bottom"), "two_interval": ("first", "second")}
"""The prefixes of the columns of each design's images."""
KEYS = {
    "oddity": ("left", "right", "down"),
    "which_is_original": ("left", "right"),
    "same_different": ("s", "d"),
}
"""The keys that answer: of a design, or of a task of two_interval."""
TIMES = ("presentation_s", "response_s", "interval_s")
MOST_LIST_BYTES, MOST_IMAGE_BYTES, MOST_PX = 2**28, 2**26, 4096
"""Largest files that are read, and the largest side of a stimulus."""
COLUMNS = (
    "trial_number",
    "block",
    "break_before",
    "stimulus_id",
    "condition",
    "crop_px",
    "correct_key",
    *TIMES,
)
PATCH_COLUMNS = ("id", "file", "x", "y", "sha256")
"""What the columns of an image end in."""


@dataclass(frozen=True)
class Patch:
    """A square of an image: `side` pixels from (x, y), its top-left corner."""

    stimulus_id: str
    file: Path
    x: int
    y: int
    side: int
    sha256: str


@dataclass(frozen=True)
class Trial:
    """One row of the list; `row` has its cells as they are in the file."""

    row: Mapping[str, str]
    number: int
    block: int
    break_before: bool
    stimulus_id: str
    patches: Mapping[str, Patch]
    keys: tuple[str, ...]
    correct_key: str
    presentation_s: float
    response_s: float
    interval_s: float
    isi_s: float


@dataclass(frozen=True)
class TrialList:
    """All trials of a session, in order; `ppd` is None where the run does not state it."""

    path: Path
    design: str
    trials: tuple[Trial, ...]
    columns: tuple[str, ...]
    sha256: str
    ppd: float | None

    @property
    def run_folder(self) -> Path:
        """The run whose stimuli are shown: they are in its folder stimuli."""
        first = next(iter(self.trials[0].patches.values()))
        return first.file.resolve().parent.parent


@dataclass(frozen=True)
class _Problem:
    """What is wrong with a list, and what can be done; equal cures are said once."""

    text: str
    cure: str


NOT_A_LIST = "Name a trial list that stimgen trials has written, such as results/NAME/trials/oddity.csv."
NOT_AS_WRITTEN = (
    "Use the file as stimgen trials wrote it (a spreadsheet changes what it saves), or make the list anew."
)
NOT_IN_PLACE = (
    "The list's paths are relative to its folder: put list and run in the same places relative to each other "
    "as where the list was made, or make the list anew."
)
NOT_COPIED = "Copy the image from where the run was made, or run the manifest again."
NOT_THE_IMAGE = "Copy the run's own image again, or make the trial list anew from the run as it is now."


def read_trial_list(path: Path, design: str) -> TrialList:
    """Read a trial list and check it with its images.

    Raises
    ------
    ExperimentError
        If the file is no trial list of this design, or an image is missing, has changed, is not grey or RGB
        of 8 or 16 bits, or is smaller than its patch; up to ten problems at once, and the cure of each kind
        once.
    """
    try:
        content = _read_file(path, MOST_LIST_BYTES)
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read: {error.strerror}.", NOT_A_LIST) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExperimentError(f"{path}: cannot be read: {error}.", NOT_AS_WRITTEN) from error
    _check_header(path, reader.fieldnames or (), rows, design)
    problems: list[_Problem] = []
    trials = []
    for line, row in enumerate(rows, start=2):
        try:
            trials.append(_trial(row, design, path.parent))
        except (ValueError, TypeError) as error:
            problems.append(_Problem(f"{path}:{line}: {error}", NOT_AS_WRITTEN))
    numbers = [trial.number for trial in trials]
    if not problems and numbers != list(range(1, len(rows) + 1)):
        problems.append(_Problem(f"{path}: the column trial_number must count 1, 2, 3, …", NOT_AS_WRITTEN))
    ppd = {row.get("ppd") or "" for row in rows}
    if not problems and len(ppd) > 1:
        problems.append(_Problem(f"{path}: the column ppd must be the same in all rows", NOT_AS_WRITTEN))
    problems += _image_problems(path, trials)
    if problems:
        shown = problems[:10]
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        cures = dict.fromkeys(problem.cure for problem in shown)
        raise ExperimentError("\n".join([*(problem.text for problem in shown), *more]), "\n".join(cures))
    stated = ppd.pop()
    sha256 = f"sha256:{hashlib.sha256(content).hexdigest()}"
    columns = tuple(reader.fieldnames or ())
    return TrialList(path, design, tuple(trials), columns, sha256, float(stated) if stated else None)


def _is_stimulus(file: Path, first: Path) -> bool:
    """Return whether `file` is an entry of a folder called stimuli, and of the same as `first` is."""
    folder = file.parent.resolve()
    return folder.name == "stimuli" and folder == first.parent.resolve() and file.suffix == ".png"


def _read_file(path: Path, most_bytes: int) -> bytes:
    """Return a file's bytes; raise OSError if it is none (a pipe would be waited for), or too large."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file")
    if path.stat().st_size > most_bytes:
        raise OSError(errno.EFBIG, f"Larger than {most_bytes} bytes")
    return path.read_bytes()


def _check_header(path: Path, header: Sequence[str], rows: list[dict[str, str]], design: str) -> None:
    """Raise, once, for what is wrong with the whole file."""
    needed = [*COLUMNS, *(f"{place}_{end}" for place in PLACES[design] for end in PATCH_COLUMNS)]
    needed += ["task", "isi_s"] if design == "two_interval" else []
    if len(header) == 1 and re.match("design[;\t]", header[0]):
        raise ExperimentError(f"{path}: there are no commas between the cells.", NOT_AS_WRITTEN)
    if "design" not in header:
        raise ExperimentError(f"{path}: is no trial list: there is no column 'design'.", NOT_A_LIST)
    if not rows:
        raise ExperimentError(f"{path}: there are no trials.", NOT_AS_WRITTEN)
    other = next((row["design"] for row in rows if row["design"] != design), design)
    if other != design and other in PLACES:
        cure = f"Show it with experiments/{other}/{other}.py, or name a list of the design {design}."
    else:
        cure = f"Name a list of the design {design}; other designs need a script of your own."
    if other != design:
        raise ExperimentError(f"{path}: the design is {other!r}, and this experiment shows {design!r}.", cure)
    missing = [name for name in needed if name not in header]
    if missing:
        raise ExperimentError(f"{path}: there is no column {', '.join(map(repr, missing))}.", NOT_AS_WRITTEN)


def _trial(row: dict[str, str], design: str, folder: Path) -> Trial:
    if None in row or None in row.values():
        raise ValueError("the row has more or fewer cells than the header")
    keys = KEYS.get(row["task"] if design == "two_interval" else design)
    if keys is None:
        raise ValueError(f"unknown task {row['task']!r}")
    if row["correct_key"] not in keys:
        raise ValueError(f"correct_key is {row['correct_key']!r}, and the keys are {', '.join(keys)}")
    if row["break_before"] not in ("0", "1"):
        raise ValueError("break_before must be 0 or 1")
    side = int(row["crop_px"])
    if side < 1:
        raise ValueError("crop_px must be above 0")
    return Trial(
        row=row,
        number=int(row["trial_number"]),
        block=int(row["block"]),
        break_before=row["break_before"] == "1",
        stimulus_id=row["stimulus_id"],
        patches={
            place: Patch(
                stimulus_id=row[f"{place}_id"],
                file=folder / row[f"{place}_file"],
                x=int(row[f"{place}_x"]),
                y=int(row[f"{place}_y"]),
                side=side,
                sha256=row[f"{place}_sha256"],
            )
            for place in PLACES[design]
        },
        keys=keys,
        correct_key=row["correct_key"],
        presentation_s=_seconds(row, "presentation_s"),
        response_s=_seconds(row, "response_s"),
        interval_s=_seconds(row, "interval_s", or_none=True),
        isi_s=_seconds(row, "isi_s", or_none=True) if design == "two_interval" else 0.0,
    )


def _seconds(row: dict[str, str], column: str, *, or_none: bool = False) -> float:
    seconds = float(row[column])
    if not (0 < seconds <= 3600 or (or_none and seconds == 0)):
        least = "0 or more" if or_none else "above 0"
        raise ValueError(f"{column} must be {least} and at most 3600 seconds")
    return seconds


def _image_problems(path: Path, trials: list[Trial]) -> list[_Problem]:
    """Return what is wrong with the images, each file named once."""
    patches = [patch for trial in trials for patch in trial.patches.values()]
    files = dict.fromkeys(patch.file for patch in patches)
    if len(files) > 1 and not any(file.exists() for file in files):
        text = f"{path}: none of its {len(files)} images is there, such as {next(iter(files))}"
        return [_Problem(text, NOT_IN_PLACE)]
    elsewhere = next((file for file in files if not _is_stimulus(file, next(iter(files)))), None)
    if elsewhere is not None:
        text = f"{path}: {elsewhere} is not in the folder stimuli of one run, from which all images are shown"
        return [_Problem(text, NOT_AS_WRITTEN)]
    problems: dict[Path, _Problem] = {}
    known: dict[Path, tuple[str, tuple[int, int]]] = {}
    for patch in patches:
        file = patch.file
        if file in problems:
            continue
        try:
            if file not in known:
                # PsychoPy shows a file of the same name with another extension where one is missing.
                content = _read_file(file, MOST_IMAGE_BYTES)
                with Image.open(io.BytesIO(content)) as image:
                    if max(image.size) > MOST_PX:
                        raise ValueError(
                            f"has {image.width} × {image.height} pixels, and stimuli {MOST_PX} a side"
                        )
                    # Bit depth and colour type in the header, which Pillow does not tell of 16-bit colour.
                    if image.format != "PNG" or content[24] not in (8, 16) or content[25] not in (0, 2):
                        raise ValueError(
                            f"is {image.format} {image.mode}, not a grey or RGB PNG of 8 or 16 bits"
                        )
                    known[file] = (f"sha256:{hashlib.sha256(content).hexdigest()}", image.size)
        except FileNotFoundError:
            problems[file] = _Problem(f"{file}: there is no such file", NOT_COPIED)
            continue
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
            problems[file] = _Problem(f"{file}: {error}", NOT_THE_IMAGE)
            continue
        sha256, (width, height) = known[file]
        if sha256 != f"sha256:{patch.sha256.removeprefix('sha256:')}":
            text = "the file has changed since the trial list was made (other SHA-256)"
            problems[file] = _Problem(f"{file}: {text}", NOT_THE_IMAGE)
        elif not (0 <= patch.x <= width - patch.side and 0 <= patch.y <= height - patch.side):
            text = f"{patch.side} px from ({patch.x}, {patch.y}) are not inside {width} × {height} px"
            problems[file] = _Problem(f"{file}: {text}", NOT_AS_WRITTEN)
    return list(problems.values())
