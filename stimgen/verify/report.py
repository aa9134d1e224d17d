"""What a verification found, in lines for people and in data for programs."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stimgen.counting import counted
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import SHOWN, Cure, Finding
from stimgen.verify.folder import ONLY_BY_READING
from stimgen.verify.run import Advance, Recomputed, Verification

HEADINGS = {"wrong": "WRONG", "incomplete": "INCOMPLETE", "warning": "WARNING", "unchecked": "NOT CHECKED"}
FEW = 3
"""How many of many findings of one kind are written in full."""


def sentences(result: Verification, measured: Recomputed | None) -> Iterator[str]:
    """Yield a line for each finding, the worst first, and in the end what it amounts to and what mends it.

    Of many findings of one kind the first are written in full, and the others by their number.
    """
    findings = _all(result, measured)
    for severity, heading in HEADINGS.items():
        yield from (
            f"{heading}  {line}" for line in _grouped([f for f in findings if f.severity == severity])
        )
    yield _conclusion(result, measured, findings)
    yield from _mending(result, findings)
    if result.stimuli_sha256 and not (measured and measured.wrong):
        yield f"{RunFolder(result.folder).fingerprint_command}: {result.stimuli_sha256}"


def _grouped(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each finding; findings that say the same of several files share one."""
    kinds: dict[tuple[str, str], dict[str, list[str]]] = {}
    for finding in findings:
        folder, _, _ = finding.file.rpartition("/")
        kind = kinds.setdefault((folder, finding.problem.partition(":")[0]), {})
        kind.setdefault(finding.problem, []).append(finding.file)
    for of_kind in kinds.values():
        problems = list(of_kind.items())
        shown = problems if len(problems) <= SHOWN else problems[:FEW]
        for problem, files in shown:
            yield f"{_files(files)}: {problem}"
        if rest := [file for _, files in problems[len(shown) :] for file in files]:
            yield f"{_files(rest, FEW)}: likewise (--json tells each)"


def _files(files: Sequence[str], most: int = SHOWN) -> str:
    if len(files) <= most:
        return ", ".join(files)
    return f"{', '.join(files[:most])} and {len(files) - most} more"


def _mending(result: Verification, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what mends the run, in the order in which it is to be done."""
    needed: dict[Cure, list[str]] = {}
    for finding in findings:
        for cure in finding.cures:
            needed.setdefault(cure, []).append(finding.file)
    if "run" in needed:
        needed.pop("tables", None)  # which every run writes
    else:
        needed.pop("source", None)  # nothing is made of it
    folder = shlex.quote(str(result.folder))
    options = f" {result.overrides}" if result.overrides else ""
    again = f"stimgen run MANIFEST{options} --out {folder}"
    texts: dict[Cure, str] = {
        "remove": "delete {files}, or move them elsewhere",
        "restore": "take {files} from a backup if there is one: without it the image is made anew, "
        "on another device or version with other pixels",
        "source": "put back {files}: of what is another file now, everything is made anew",
        "run": f"{again}  (what is right is kept, the rest is made)",
        "tables": f"stimgen tables {folder}  (writes tables and trial lists from the records)",
        "lists": "stimgen trials writes {files} anew, with the options that you gave it",
    }
    if needed:
        yield "To mend it:"
    for cure, text in texts.items():
        if cure in needed:
            yield f"  {text.format(files=_files(list(dict.fromkeys(needed[cure]))))}"


def _conclusion(result: Verification, measured: Recomputed | None, findings: Sequence[Finding]) -> str:
    stimuli = counted(result.planned)
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in HEADINGS}
    again = f" {measured.stimuli} were measured again." if measured else ""
    verified = _verified(result, measured)
    if counts["wrong"]:
        right = f"{verified} of {stimuli} are what their records describe"
        things = counted(counts["wrong"], "thing is", "things are")
        return f"{right}, and {things} wrong.{again}"
    if counts["incomplete"]:
        return f"{verified} of {stimuli} are there and right: the run is not complete.{again}"
    every = "every file is the one its record describes, made as the manifest asks"
    others = f" {result.unplanned} others are there, of an earlier manifest." if result.unplanned else ""
    return f"{stimuli}: {every}, and the tables follow from the records.{others}{again}"


def _verified(result: Verification, measured: Recomputed | None) -> int:
    """Return how many stimuli are right, with the numbers that were measured again."""
    before = {finding.file for finding in result.findings if finding.severity in ("wrong", "incomplete")}
    return result.verified - len(measured.wrong - before if measured else ())


def as_data(result: Verification, measured: Recomputed | None) -> dict[str, Any]:
    """Return the same as plain data."""
    findings = _all(result, measured)
    return {
        "run": str(result.folder),
        "name": result.name,
        "planned": result.planned,
        "verified": _verified(result, measured),
        "recomputed": measured.stimuli if measured else None,
        "right": not any(finding.severity in ("wrong", "incomplete") for finding in findings),
        "stimuli_sha256": None if measured and measured.wrong else result.stimuli_sha256,
        "strangers": result.unplanned,
        "findings": [asdict(finding) for finding in findings],
    }


@contextlib.contextmanager
def bar(description: str, run: Path) -> Iterator[Advance]:
    """Show a bar while stimuli are looked at, if there is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(description, total=sum(1 for _ in (run / "records").rglob("*.json")))
        yield lambda more: bars.advance(task, more)


def _all(result: Verification, measured: Recomputed | None) -> tuple[Finding, ...]:
    if measured is None:
        return result.findings
    # What can be compared only by reading it was read.
    return (
        *(finding for finding in result.findings if ONLY_BY_READING not in finding.problem),
        *measured.findings,
    )
