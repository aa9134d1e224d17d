"""What a verification found, in lines for people and in data for programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stimgen.verify.finding import Finding
from stimgen.verify.materials import ONLY_BY_READING
from stimgen.verify.run import Advance, Recomputed, Verification

HEADINGS = {"wrong": "WRONG", "incomplete": "INCOMPLETE", "warning": "WARNING", "unchecked": "NOT CHECKED"}


def sentences(result: Verification, measured: Recomputed | None) -> Iterator[str]:
    """Yield a line for each finding, the worst first, and in the end what it amounts to."""
    findings = _all(result, measured)
    for severity, heading in HEADINGS.items():
        for one in findings:
            if one.severity == severity:
                yield f"{heading}  {one.file}: {one.problem}"
    yield _conclusion(result, measured, findings)
    if result.stimuli_sha256:
        yield f"sha256sum stimuli/*.png | sha256sum: {result.stimuli_sha256}"


def _conclusion(result: Verification, measured: Recomputed | None, findings: Sequence[Finding]) -> str:
    stimuli = f"{result.planned} {'stimulus' if result.planned == 1 else 'stimuli'}"
    counts = {severity: sum(one.severity == severity for one in findings) for severity in HEADINGS}
    again = f" {measured.stimuli} were measured again." if measured else ""
    if counts["wrong"]:
        right = f"{result.verified} of {stimuli} are what their records describe"
        things = "1 thing is wrong" if counts["wrong"] == 1 else f"{counts['wrong']} things are wrong"
        return f"{right}, and {things}.{again}"
    if counts["incomplete"]:
        return (
            f"{result.verified} of {stimuli} are there and right: the run is not complete.{again} "
            f"Run the manifest again to make the rest."
        )
    every = "every file is the one its record describes, made as the manifest asks"
    return f"{stimuli}: {every}, and the tables follow from the records.{again}"


def as_data(result: Verification, measured: Recomputed | None) -> dict[str, Any]:
    """Return the same as plain data."""
    findings = _all(result, measured)
    return {
        "run": str(result.folder),
        "name": result.name,
        "planned": result.planned,
        "verified": result.verified,
        "recomputed": measured.stimuli if measured else None,
        "right": not any(one.severity in ("wrong", "incomplete") for one in findings),
        "stimuli_sha256": result.stimuli_sha256,
        "findings": [asdict(one) for one in findings],
    }


@contextlib.contextmanager
def bar(what: str, run: Path) -> Iterator[Advance]:
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
        task = bars.add_task(what, total=sum(1 for _ in (run / "records").glob("*.json")))
        yield lambda more: bars.advance(task, more)


def _all(result: Verification, measured: Recomputed | None) -> tuple[Finding, ...]:
    if measured is None:
        return result.findings
    # What can be compared only by reading it was read.
    return (*(one for one in result.findings if ONLY_BY_READING not in one.problem), *measured.findings)
