"""A disk that loses power: what of a run would be left, from the operations on files that it did.

What was not synced may be lost, or may not. Two extremes are made: names are all there but contents that were
not synced are empty; and names are only there if their folder was synced.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from file_operations import watched

State = dict[str, bytes | None]
"""Paths relative to the folder above the run: the content of a file, or None for a folder."""


@dataclass
class Disk:
    """What is on the disk under `root`."""

    root: Path  # the folder above the run
    names: dict[str, int | None] = field(default_factory=dict)  # path to number; None for a folder
    safe_names: dict[str, int | None] = field(default_factory=dict)  # the same after a power failure
    contents: dict[int, bytes] = field(default_factory=dict)  # by number of the file, after a power failure
    operations: list[tuple[str, str]] = field(default_factory=list)  # kind and path, as they were done
    states: list[State] = field(default_factory=list)  # what a power failure could leave after any of them

    def watched(self) -> AbstractContextManager[None]:
        """Follow what is done to files."""
        return watched(self._before, self._after)

    def _before(self, kind: str, path: Path) -> None:
        if kind == "sync" and (name := self._name(path)) is not None:
            self.names[name] = len(self.operations)
            self._done("create", name)

    def _after(self, kind: str, path: Path, source: Path) -> None:
        name = self._name(path)
        if name is None:
            return
        if kind == "sync folder":
            of_others = {other: n for other, n in self.safe_names.items() if str(Path(other).parent) != name}
            inside = {other: n for other, n in self.names.items() if str(Path(other).parent) == name}
            self.safe_names = of_others | inside
        elif kind == "sync":
            self.contents[self.names[name]] = path.read_bytes()
        elif kind == "mkdir":
            self.names[name] = None
        elif kind == "replace":
            self.names[name] = self.names.pop(self._name(source), -1)
        elif kind == "link":
            self.names[name] = self.names[self._name(source)]
        else:
            self.names.pop(name, None)
        self._done(kind, name)

    def _name(self, path: Path) -> str | None:
        absolute = path.absolute()
        return str(absolute.relative_to(self.root)) if absolute.is_relative_to(self.root) else None

    def _done(self, kind: str, path: str) -> None:
        self.operations.append((kind, path))
        for names in (self.names, self.safe_names):
            state = {
                name: None if number is None else self.contents.get(number, b"")
                for name, number in names.items()
                if all(parent in names for parent in map(str, Path(name).parents) if parent != ".")
            }
            if state not in self.states:
                self.states.append(state)


def restore(state: State, root: Path) -> None:
    """Put what was left into a folder."""
    for name, content in sorted(state.items()):
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
