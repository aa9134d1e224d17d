"""What a process does to files, operation by operation: to log it, and to stop it there."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stimgen.atomic import TEMPORARY

KINDS = ("half", "sync", "replace", "link", "unlink", "mkdir", "rmdir", "sync folder")
"""Half a file written, a file synced, …: each is told after it happened, "half" in the midst of it."""


class Watch:
    """Replaces the functions of `os` that change files while it is entered.

    Parameters
    ----------
    log
        File to which all operations are written, if any.
    kill_at
        Kind and name of the operation at which the process kills itself.
    hold_at
        The operation before which it creates the file `held` and waits until that is gone.
    held
        See there.
    """

    def __init__(
        self, log: str | None, kill_at: list[str] | None, hold_at: list[str] | None, held: Path
    ) -> None:
        self._log, self._kill_at, self._hold_at, self._held = log, kill_at, hold_at, held
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
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            self._functions["fsync"](handle)
            self._after("sync folder", path)
            return
        self._before("sync", path)
        if self._kill_at == ["half", name_of(path)]:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
        self._after("half", path)
        self._functions["fsync"](handle)
        self._after("sync", path)

    def _before(self, kind: str, path: Path) -> None:
        if self._hold_at == [kind, name_of(path)]:
            self._hold_at = None
            self._held.touch()
            while self._held.exists():
                time.sleep(0.005)

    def _after(self, kind: str, path: Path) -> None:
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{kind}\t{name_of(path)}\n")
        if self._kill_at == [kind, name_of(path)]:
            os.kill(os.getpid(), signal.SIGKILL)


def name_of(path: Path) -> str:
    """Return a name that does not tell one temporary file from another, nor one stimulus from another."""
    name = f"{TEMPORARY}*" if path.name.startswith(TEMPORARY) else path.name
    if path.parent.name in ("stimuli", "records", "checkpoints") and not name.startswith(TEMPORARY):
        name = f"*{path.suffix}"
    return f"{path.parent.name}/{name}"
