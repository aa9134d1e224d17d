"""What a verification of a run finds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["wrong", "incomplete", "warning", "unchecked", "lost"]
Cure = Literal["remove", "restore", "source", "run", "tables", "lists"]
"""What mends a run: to delete a file, to take it from a backup, to put a source or weights back, to run the
manifest again, `stimgen tables`, `stimgen trials`."""
SOURCE: tuple[Cure, ...] = ("source",)
RUN: tuple[Cure, ...] = ("run",)
TABLES: tuple[Cure, ...] = ("tables",)

KILLED = "is the unfinished file of a run that was killed; the next run removes it"
SHOWN = 5
"""How many names a sentence has."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, or could not be looked at."""

    severity: Severity
    file: str
    problem: str
    cures: tuple[Cure, ...] = ()


def wrong(file: str, problem: str, cures: tuple[Cure, ...] = RUN) -> Finding:
    """Return that a file is not what the run made."""
    return Finding("wrong", file, problem, cures)


def incomplete(file: str, problem: str, cures: tuple[Cure, ...] = RUN) -> Finding:
    """Return that something is not made yet."""
    return Finding("incomplete", file, problem, cures)


def warning(file: str, problem: str, cures: tuple[Cure, ...] = ()) -> Finding:
    """Return that something beside the stimuli has changed."""
    return Finding("warning", file, problem, cures)


def unchecked(file: str, problem: str, cures: tuple[Cure, ...] = ()) -> Finding:
    """Return that something could not be looked at."""
    return Finding("unchecked", file, problem, cures)


def lost(file: str, problem: str, cures: tuple[Cure, ...] = TABLES) -> Finding:
    """Return that a file is missing or of another state: wrong, unless the run was killed meanwhile."""
    return Finding("lost", file, problem, cures)


def settled(finding: Finding, *, unfinished: bool) -> Finding:
    """Return a finding with what `lost` amounts to in a run that ended, or is unfinished."""
    if finding.severity != "lost":
        return finding
    if unfinished:
        return incomplete(finding.file, finding.problem)
    return wrong(finding.file, finding.problem, finding.cures)


def cures_at(path: Path, otherwise: tuple[Cure, ...] = RUN) -> tuple[Cure, ...]:
    """Return what mends a path: a link or a folder in the place of a file has to go first."""
    in_the_way = os.path.lexists(path) and (path.is_symlink() or not path.is_file())
    return ("remove", *otherwise) if in_the_way else otherwise


def some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
