"""A disk that loses power: what of a run would be left, from the operations on files that it did.

What was not synced may be lost, or may not. Two extremes are made: names are all there but contents that were
not synced are empty; and names are only there if their folder was synced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

State = dict[str, bytes | None]
"""Paths relative to the folder above the run: the content of a file, or None for a folder."""


@dataclass
class Disk:
    """What is on the disk under `root`.

    Attributes
    ----------
    root
        The folder above the run.
    names
        Path to the number of the file there, as programs see it; None for a folder.
    safe_names
        The same after a power failure.
    contents
        Number of a file to its content after a power failure.
    operations
        Kind and path, in the order in which they were done.
    states
        What could be left by a power failure after any of the operations.
    """

    root: Path
    names: dict[str, int | None] = field(default_factory=dict)
    safe_names: dict[str, int | None] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    operations: list[tuple[str, str]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def done(self, kind: str, path: str) -> None:
        """Note an operation and what a power failure would leave after it."""
        self.operations.append((kind, path))
        for names in (self.names, self.safe_names):
            state = {
                name: None if number is None else self.contents.get(number, b"")
                for name, number in names.items()
                if all(parent in names for parent in map(str, Path(name).parents) if parent != ".")
            }
            if state not in self.states:
                self.states.append(state)

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder safe."""
        inside = {name: number for name, number in self.names.items() if str(Path(name).parent) == folder}
        kept = {name: number for name, number in self.safe_names.items() if str(Path(name).parent) != folder}
        self.safe_names = kept | inside


@contextmanager
def watched(root: Path) -> Iterator[Disk]:
    """Follow what is done to files under `root`, which is empty."""
    disk = Disk(root)
    originals = {name: getattr(os, name) for name in ("fsync", "replace", "link", "unlink", "mkdir", "rmdir")}

    def relative(path: Any) -> str | None:
        absolute = Path(path).absolute()
        return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else None

    def fsync(handle: int) -> None:
        path, status = Path(f"/proc/self/fd/{handle}").readlink(), os.fstat(handle)
        name = relative(path)
        if name is None:
            originals["fsync"](handle)
        elif stat.S_ISDIR(status.st_mode):
            originals["fsync"](handle)
            disk.sync_folder(name)
            disk.done("sync folder", name)
        else:
            number = len(disk.operations)
            disk.names[name] = number
            disk.done("create", name)
            originals["fsync"](handle)
            disk.contents[number] = path.read_bytes()
            disk.done("sync", name)

    def changing(kind: str) -> Any:
        def function(path: Any, *others: Any, **options: Any) -> Any:
            result = originals[kind](path, *others, **options)
            name = relative(others[0] if kind in ("replace", "link") else path)
            if name is not None:
                if kind == "mkdir":
                    disk.names[name] = None
                elif kind == "replace":
                    disk.names[name] = disk.names.pop(str(relative(path)), -1)
                elif kind == "link":
                    disk.names[name] = disk.names[str(relative(path))]
                else:
                    disk.names.pop(name, None)
                disk.done(kind, name)
            return result

        return function

    os.fsync = fsync
    for kind in ("replace", "link", "unlink", "mkdir", "rmdir"):
        setattr(os, kind, changing(kind))
    try:
        yield disk
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def restore(state: State, root: Path) -> None:
    """Put what was left into a folder."""
    for name, content in sorted(state.items()):
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
