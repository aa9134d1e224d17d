"""Problems of a manifest: all of a file's at once, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stimgen.errors import InputError

SHOWN = 100
"""How many problems a message lists."""

DataPath = tuple[str | int, ...]


def dotted(path: DataPath) -> str:
    """Return a path in the manifest as people write it: "sources[0].crop"."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a manifest."""

    path: str
    line: int | None
    column: int | None
    location: str
    message: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.location}: {self.message}" if self.location else f"{place}: {self.message}"


class ManifestError(InputError):
    """A manifest that can't be used, with every problem found in it."""

    def __init__(self, errors: Iterable[Problem]) -> None:
        unique = dict.fromkeys(errors)
        self.errors = sorted(unique, key=lambda problem: (problem.line or 0, problem.column or 0))
        lines = [str(problem) for problem in self.errors[:SHOWN]]
        if len(self.errors) > SHOWN:
            lines.append(f"… and {len(self.errors) - SHOWN} more problems.")
        super().__init__("\n".join(lines))
