"""What a verification found, in lines for people and in data for programs."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from stimgen.counting import SHOWN, counted, first_few
from stimgen.errors import StimgenError
from stimgen.manifest.load import load_manifest
from stimgen.runs.store import RunFolder
from stimgen.verify.finding import Cure, Finding
from stimgen.verify.run import Advance, Verification

HEADINGS = {"wrong": "WRONG", "incomplete": "INCOMPLETE", "warning": "WARNING", "unchecked": "NOT CHECKED"}
FEW = 3
"""How many of many findings of one kind are written in full."""


def sentences(result: Verification) -> Iterator[str]:
    """Yield a line for each finding, the worst first, and in the end what it amounts to and what mends it.

    Of many findings of one kind the first are written in full, and the others by their number.
    """
    for severity, heading in HEADINGS.items():
        of_severity = [finding for finding in result.findings if finding.severity == severity]
        yield from (f"{heading}  {line}" for line in _grouped(of_severity))
    yield _conclusion(result)
    yield from _mending(result)
    if result.stimuli_sha256:
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
            yield f"{first_few(files)}: {problem}"
        if rest := [file for _, files in problems[len(shown) :] for file in files]:
            yield f"{first_few(rest, FEW)}: likewise (--json tells each)"


def _mending(result: Verification) -> Iterator[str]:
    """Yield what mends the run, in the order in which it is to be done."""
    needed: dict[Cure, list[str]] = {}
    for finding in result.findings:
        for cure in finding.cures:
            needed.setdefault(cure, []).append(finding.file)
    if "run" in needed:
        needed.pop("tables", None)  # which every run writes
    else:
        needed.pop("source", None)  # nothing is made of it
    folder = shlex.quote(str(result.folder))
    options = f" {result.overrides}" if result.overrides else ""
    again = f"stimgen run {_manifest(result)}{options} --out {folder}"
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
            yield f"  {text.format(files=first_few(list(dict.fromkeys(needed[cure]))))}"


def _manifest(result: Verification) -> str:
    """Return the manifest in the run folder, if it is unaltered and can be run from there; else MANIFEST."""
    path = result.folder / "manifest.yaml"
    altered = any(finding.file == path.name for finding in result.findings)
    if not altered:
        with contextlib.suppress(StimgenError):
            load_manifest(path)
            return shlex.quote(str(path))
    return "MANIFEST"


def _conclusion(result: Verification) -> str:
    stimuli = counted(result.planned)
    counts = Counter(finding.severity for finding in result.findings)
    again = "" if result.recomputed is None else f" {result.recomputed} were measured again."
    if counts["wrong"]:
        right = f"{result.verified} of {stimuli} are what their records describe"
        return f"{right}, and {counted(counts['wrong'], 'thing is', 'things are')} wrong.{again}"
    if counts["incomplete"]:
        return f"{result.verified} of {stimuli} are there and right: the run is not complete.{again}"
    every = "every file is the one its record describes, made as the manifest asks"
    others = f" {result.unplanned} others are there, of an earlier manifest." if result.unplanned else ""
    return f"{stimuli}: {every}, and the tables follow from the records.{others}{again}"


def as_data(result: Verification) -> dict[str, Any]:
    """Return the same as plain data."""
    names = ("name", "planned", "verified", "recomputed", "right", "stimuli_sha256")
    return {
        "run": str(result.folder),
        **{name: getattr(result, name) for name in names},
        "strangers": result.unplanned,
        "findings": [asdict(finding) for finding in result.findings],
    }


@contextlib.contextmanager
def bar(description: str, run: Path) -> Iterator[Advance]:
    """Show a bar while stimuli are looked at, if there is a terminal."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(description, total=sum(1 for _ in (run / "records").rglob("*.json")))
        yield lambda more: bars.advance(task, more)
