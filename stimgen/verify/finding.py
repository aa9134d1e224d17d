"""What a verification of a run finds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

Severity = Literal["wrong", "incomplete", "warning", "unchecked", "lost"]
Cure = Literal["remove", "restore", "source", "run", "tables", "lists"]
"""What mends a run: to delete a file, to take it from a backup, to put a source or weights back, to run the
manifest again, `stimgen tables`, `stimgen trials`."""
SOURCE: tuple[Cure, ...] = ("source",)
RUN: tuple[Cure, ...] = ("run",)
TABLES: tuple[Cure, ...] = ("tables",)
ANEW: tuple[Cure, ...] = ("remove", "run")
"""A record that was edited and sealed again would be kept by a run."""

KILLED = "is the unfinished file of a run that was killed; the next run removes it"
NOT_OF_RUN = "is no part of the run"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, or could not be looked at.

    What is `lost` is missing or of another state: wrong, unless the run was killed meanwhile.
    """

    severity: Severity
    file: str
    problem: str
    cures: tuple[Cure, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether the run is not right."""
        return self.severity in ("wrong", "incomplete")


wrong = partial(Finding, "wrong", cures=RUN)
incomplete = partial(Finding, "incomplete", cures=RUN)
warning = partial(Finding, "warning")
unchecked = partial(Finding, "unchecked")
lost = partial(Finding, "lost", cures=TABLES)


def cures_at(path: Path, otherwise: tuple[Cure, ...] = RUN) -> tuple[Cure, ...]:
    """Return what mends a path: a link or a folder in the place of a file has to go first."""
    in_the_way = os.path.lexists(path) and (path.is_symlink() or not path.is_file())
    return ("remove", *otherwise) if in_the_way else otherwise
