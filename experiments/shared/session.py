"""Files of a session: each trial is on disk when it ends, and an interrupted session goes on after the last.

A session is a folder, DATA/DESIGN/PARTICIPANT_SESSION, with trials.csv (one row per completed trial),
frames.csv (one row per frame), session.json (what was shown, how, and when) and psychopy.log.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from experiments.shared.errors import ExperimentError
from experiments.shared.trial_list import TrialList

MEASURED = {
    "participant": "Identifier of the participant.",
    "session": "Number of the session.",
    "simulated": "1 if a simulated observer answered, else 0.",
    "ended": "When the trial ended: local time with its offset from UTC.",
    "response": "The first key that was pressed in the response time; empty if none was.",
    "correct": "1 if response is correct_key, 0 if it is another key, empty without a response.",
    "rt_s": "Seconds from the onset of the images (of the second interval) to the key.",
    "shown_s": "Seconds from the first frame of the images to the first frame without them; of two intervals "
    "the first.",
    "shown_second_s": "The same of the second interval; empty in a design with one.",
    "isi_shown_s": "Seconds between the two intervals; empty in a design with one.",
    "frames": "Number of frames of the trial. frames.csv has one fewer: the last frame stays until the next "
    "trial begins.",
    "dropped_frames": "Number of frames that stayed longer than 1.5 times the refresh period.",
    "frame_mean_s": "Mean seconds that a frame stayed.",
    "frame_max_s": "Seconds of the frame that stayed longest.",
}
"""What a session adds to the columns of the trial list, with the descriptions of the data dictionary."""
RESERVED = frozenset({"nan", "inf", "infinity", "na", "null", "none", "true", "false", "all"})
"""Words that tables read as something else than text, and the analysis's word for all participants."""
FRAME_COLUMNS = ("trial_number", "phase", "frame", "interval_s", "dropped")


@dataclass(frozen=True)
class Frame:
    """One frame: the phase of the trial, and how many seconds it stayed on the screen."""

    phase: str
    interval_s: float
    dropped: bool


@dataclass
class Session:
    """An open session.

    Attributes
    ----------
    folder
        Where its files are.
    trial_list
        What is shown.
    identity
        Values of the columns participant, session and simulated.
    done
        Rows of the completed trials, from this sitting and earlier ones.
    metadata
        Content of session.json; its list "sittings" has one entry per start of the program.
    """

    folder: Path
    trial_list: TrialList
    identity: dict[str, str]
    done: list[dict[str, str]]
    metadata: dict[str, Any] = field(repr=False)

    @property
    def columns(self) -> list[str]:
        """The columns of trials.csv."""
        return [*self.trial_list.columns, *MEASURED]

    def save_trial(self, measured: Mapping[str, Any], frames: Iterable[Frame] = ()) -> dict[str, str]:
        """Append the next trial of the list to the files and wait until it is on disk; return its row."""
        trial = self.trial_list.trials[len(self.done)]
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        row = {**trial.row, **self.identity, "ended": now} | {k: str(v) for k, v in measured.items()}
        table = [
            (trial.number, f.phase, i, f"{f.interval_s:.6f}", int(f.dropped)) for i, f in enumerate(frames, 1)
        ]
        # The frames first: a trial counts as completed when its row is there.
        _append(self.folder / "frames.csv", table)
        _append(self.folder / "trials.csv", [[row.get(column, "") for column in self.columns]])
        self.done.append(row)
        return row

    def begin_sitting(self, facts: Mapping[str, Any]) -> None:
        """Write when this sitting began, on what machine and with what versions."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self.metadata["sittings"].append({"started": now, "first_trial": len(self.done) + 1, **facts})
        _write_json(self.folder / "session.json", self.metadata)

    def end_sitting(self, ended_by: str) -> None:
        """Write how and when this sitting ended; a sitting without it was killed."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        end = {"ended": now, "ended_by": ended_by, "last_trial": len(self.done)}
        self.metadata["sittings"][-1] |= end
        _write_json(self.folder / "session.json", self.metadata)


def open_session(
    data: Path,
    trial_list: TrialList,
    *,
    participant: str,
    session: int,
    simulated: bool,
    settings: Mapping[str, Any],
    resume: bool = False,
) -> Session:
    """Start a session, or go on with one that was interrupted.

    Parameters
    ----------
    data
        Folder of all data.
    settings
        All that decides what is on the screen; it may not change within a session.
    resume
        Whether there must be an interrupted session.

    Raises
    ------
    ExperimentError
        If the session is complete, was started with another trial list or other settings, or there is none to
        resume.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", participant) or participant.lower() in RESERVED:
        raise ExperimentError(
            f"{participant!r} cannot be the identifier of a participant.",
            "Use letters, digits, - and _, a letter first, and no word such as NA, true or all: a table "
            "would read 007 as the number 7 and NA as a missing value, and the analysis has a row for all.",
        )
    folder = data / trial_list.design / f"{participant}_{session}"
    if resume and not (folder / "session.json").exists():
        raise ExperimentError(f"{folder}: there is no session to resume.", "Start it without --resume.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder}: the folder of the session cannot be made: {error.strerror}."
        raise ExperimentError(message, "Name a folder that you may write to with --data.") from error
    identity = {"participant": participant, "session": str(session), "simulated": str(int(simulated))}
    fixed = {
        "design": trial_list.design,
        **identity,
        "run_folder": str(trial_list.run_folder),
        "trial_list": str(trial_list.path),
        "trial_list_sha256": trial_list.sha256,
        "trials": len(trial_list.trials),
        "settings": json.loads(json.dumps(settings)),
    }
    metadata: dict[str, Any] = fixed | {"sittings": []}
    opened = Session(folder, trial_list, identity, [], metadata)
    if (folder / "session.json").exists():
        try:
            before = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        except ValueError as error:
            message = f"{folder / 'session.json'}: is damaged: {error}"
            raise ExperimentError(message, "Start another session: --session N.") from error
        metadata["sittings"] = before["sittings"]
        if _has_rows(folder / "trials.csv"):
            _check_same(folder, before, fixed)
        else:  # nothing was shown: it may start otherwise
            (folder / "trials.csv").unlink(missing_ok=True)
    opened.done += _completed(folder / "trials.csv", opened.columns)
    if len(opened.done) == len(trial_list.trials):
        raise ExperimentError(
            f"{folder}: session {session} of {participant} is complete.", "Start the next one: --session N."
        )
    _keep_frames_of(len(opened.done), folder / "frames.csv")
    _write_json(folder / "session.json", metadata)
    dictionary = trial_list.path.with_suffix(".json")
    described = json.loads(dictionary.read_text(encoding="utf-8")) if dictionary.exists() else {}
    described |= {name: {"Description": text} for name, text in MEASURED.items()}
    _write_json(folder / "trials.json", described)
    return opened


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise if what is shown is not what the session was started with."""
    changed = [
        f"{name} was {was!r} and is {now['settings'].get(name)!r}"
        for name, was in before["settings"].items()
        if was != now["settings"].get(name)
    ]
    if before["trial_list_sha256"] != now["trial_list_sha256"]:
        changed.append("the trial list has changed")
    if before["simulated"] != now["simulated"]:
        changed.append("a simulated observer and a participant cannot share a session")
    if changed:
        raise ExperimentError(
            f"{folder}: this session was started otherwise: {'; '.join(changed)}.",
            "Go on with what it was started with, or start another one: --session N.",
        )


def _has_rows(path: Path) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") > 1


def _completed(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """Return the rows of a table; write the header if there is none, and cut off a row that was not finished.

    A row counts when its line end is on disk: a machine that loses power may leave part of a line.
    """
    header = _lines([columns])
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        path.write_bytes(b"")
        _append(path, [columns])
        return []
    if not whole.startswith(header):
        raise ExperimentError(
            f"{path}: the columns are not those of this version.", "Start another session: --session N."
        )
    if whole != content:
        _truncate(path, len(whole))
    return list(csv.DictReader(io.StringIO(whole.decode("utf-8"), newline="")))


def _keep_frames_of(completed: int, path: Path) -> None:
    """Cut off the frames of a trial whose row did not reach the disk: it is shown again."""
    rows = _completed(path, list(FRAME_COLUMNS))
    kept = [list(row.values()) for row in rows if int(row["trial_number"]) <= completed]
    if len(kept) < len(rows):
        _truncate(path, len(_lines([FRAME_COLUMNS, *kept])))


def _truncate(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def _append(path: Path, rows: Iterable[Iterable[object]]) -> None:
    with path.open("ab") as file:
        file.write(_lines(rows))
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, content: object) -> None:
    temporary = path.with_suffix(".json.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
