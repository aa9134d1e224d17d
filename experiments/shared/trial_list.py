"""Trial lists: read, and checked before anything is shown."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
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


def read_trial_list(path: Path, design: str) -> TrialList:
    """Read a trial list and check it with its images.

    Raises
    ------
    ExperimentError
        If the file is no trial list of this design, or an image is missing, has changed, is not 8-bit grey or
        RGB, or is smaller than its patch; up to ten problems at once.
    """
    try:
        content = path.read_bytes()
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExperimentError(f"{path}: cannot be read: {error}", "Name a trial list.") from error
    problems: list[str] = []
    trials = []
    for line, row in enumerate(rows, start=2):
        try:
            trials.append(_trial(row, design, path.parent))
        except (KeyError, ValueError, TypeError) as error:
            text = f"there is no column {error}" if isinstance(error, KeyError) else str(error)
            problems.append(f"{path}:{line}: {text}")
    if not rows:
        problems.append(f"{path}: there are no trials")
    numbers = [trial.number for trial in trials]
    if not problems and numbers != list(range(1, len(rows) + 1)):
        problems.append(f"{path}: the column trial must count 1, 2, 3, …")
    ppd = {row.get("ppd") or "" for row in rows}
    if not problems and len(ppd) > 1:
        problems.append(f"{path}: the column ppd must be the same in all rows")
    problems += _image_problems(trials)
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ExperimentError("\n".join(problems[:10]) + more, "Make the trial list anew from the run.")
    stated = ppd.pop()
    sha256 = f"sha256:{hashlib.sha256(content).hexdigest()}"
    columns = tuple(reader.fieldnames or ())
    return TrialList(path, design, tuple(trials), columns, sha256, float(stated) if stated else None)


def _trial(row: dict[str, str], design: str, folder: Path) -> Trial:
    if row["design"] != design:
        raise ValueError(f"the design is {row['design']!r}, and this experiment shows {design!r}")
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
        number=int(row["trial"]),
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


def _image_problems(trials: list[Trial]) -> list[str]:
    """Return what is wrong with the images, each file named once."""
    patches = [patch for trial in trials for patch in trial.patches.values()]
    problems: dict[Path, str] = {}
    known: dict[Path, tuple[str, tuple[int, int]]] = {}
    for patch in patches:
        file = patch.file
        if file in problems:
            continue
        try:
            if file not in known:
                # PsychoPy shows a file of the same name with another extension where one is missing.
                content = file.read_bytes()
                with Image.open(io.BytesIO(content)) as image:
                    if image.format != "PNG" or image.mode not in ("L", "RGB"):
                        raise ValueError(f"is {image.format} {image.mode}, not an 8-bit PNG in grey or RGB")
                    known[file] = (f"sha256:{hashlib.sha256(content).hexdigest()}", image.size)
        except FileNotFoundError:
            problems[file] = f"{file}: there is no such file"
            continue
        except (OSError, UnidentifiedImageError, ValueError) as error:
            problems[file] = f"{file}: {error}"
            continue
        sha256, (width, height) = known[file]
        if sha256 != f"sha256:{patch.sha256.removeprefix('sha256:')}":
            problems[file] = f"{file}: the file has changed since the trial list was made (other SHA-256)"
        elif not (0 <= patch.x <= width - patch.side and 0 <= patch.y <= height - patch.side):
            problems[file] = (
                f"{file}: {patch.side} px from ({patch.x}, {patch.y}) are not inside {width} × {height} px"
            )
    return list(problems.values())
