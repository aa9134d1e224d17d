"""What a process does to files, operation by operation: to log it, and to stop it there."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stimgen.atomic import TEMPORARY

KINDS = ("half", "sync", "replace", "link", "unlink", "mkdir", "rmdir", "sync folder")
"""Half a file written, a file synced, …: each is told after it happened, "half" in the midst of it."""

FOLDERS = ("out", "stimuli", "records", "trials", "checkpoints")
"""Names of a run folder, which is called "out", and of those in it."""


class Watch:
    """Replaces the functions of `os` that change files while it is entered.

    Parameters
    ----------
    log
        File to which all operations are written, if any.
    kill_at
        Kind, name and occurrence, from 1, of the operation at which the process kills itself.
    hold_at
        The same of the operation before which it creates the file `held` and waits until that is gone.
    held
        See there.
    """

    def __init__(
        self, log: str | None, kill_at: list[Any] | None, hold_at: list[Any] | None, held: Path
    ) -> None:
        self._log, self._kill_at, self._hold_at, self._held = log, kill_at, hold_at, held
        self._before_counts: Counter[tuple[str, str]] = Counter()
        self._after_counts: Counter[tuple[str, str]] = Counter()
        self._functions = {
            name: getattr(os, name) for name in ("fsync", "replace", "link", "unlink", "mkdir", "rmdir")
        }

    def __enter__(self) -> None:
        os.fsync = self._fsync
        for name in ("replace", "link", "unlink", "mkdir", "rmdir"):
            setattr(os, name, self._told(name))

    def __exit__(self, *error: object) -> None:
        for name, function in self._functions.items():
            setattr(os, name, function)

    def _told(self, name: str) -> Callable[..., Any]:
        def function(path: Any, *others: Any, **options: Any) -> Any:
            target = Path(others[0] if others and name in ("replace", "link") else path)
            self._before(name, target)
            result = self._functions[name](path, *others, **options)
            self._after(name, target)
            return result

        return function

    def _fsync(self, handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            self._functions["fsync"](handle)
            self._after("sync folder", path)
            return
        self._before("sync", path)
        content = Path(f"/proc/self/fd/{handle}").read_bytes()
        os.ftruncate(handle, len(content) // 2)
        self._after("half", path)
        os.pwrite(handle, content, 0)
        self._functions["fsync"](handle)
        self._after("sync", path)

    def _before(self, kind: str, path: Path) -> None:
        self._before_counts[kind, name_of(path)] += 1
        if self._hold_at == [kind, name_of(path), self._before_counts[kind, name_of(path)]]:
            self._held.touch()
            while self._held.exists():
                time.sleep(0.005)

    def _after(self, kind: str, path: Path) -> None:
        self._after_counts[kind, name_of(path)] += 1
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{kind}\t{name_of(path)}\n")
        if self._kill_at == [kind, name_of(path), self._after_counts[kind, name_of(path)]]:
            os.kill(os.getpid(), signal.SIGKILL)


def name_of(path: Path) -> str:
    """Return folder and name, the same for all temporary files, all stimuli, all folders above the run."""
    folder, name = (part if part in FOLDERS else "above" for part in (path.parent.name, path.name))
    if path.name.startswith(TEMPORARY):
        name = f"{TEMPORARY}*"
    elif folder in ("stimuli", "records", "checkpoints"):
        name = f"*{path.suffix}"
    elif folder in FOLDERS:
        name = path.name
    return f"{folder}/{name}"
