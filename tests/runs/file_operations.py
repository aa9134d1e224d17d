"""What a process does to files, operation by operation: to log it, and to stop it there."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stimgen.atomic import TEMPORARY

KINDS = ("half", "sync", "replace", "link", "unlink", "mkdir", "rmdir", "sync folder")
"""Half a file written, a file synced, …: each is told after it happened, "half" in the midst of it."""

FOLDERS = ("out", "stimuli", "records", "optimised", "trials", "checkpoints")
"""Names of a run folder, which is called "out", and of those in it."""


@contextmanager
def watched(before: Callable[[str, Path], None], after: Callable[[str, Path, Path], None]) -> Iterator[None]:
    """Call `before` with the kind of each operation and its path, and `after` also with the old path."""
    originals = {name: getattr(os, name) for name in ("fsync", "replace", "link", "unlink", "mkdir", "rmdir")}

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        kind = "sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync"
        before(kind, path)
        originals["fsync"](handle)
        after(kind, path, path)

    def changing(kind: str) -> Callable[..., Any]:
        def function(path: Any, *others: Any, **options: Any) -> Any:
            target = Path(others[0] if kind in ("replace", "link") else path)
            before(kind, target)
            result = originals[kind](path, *others, **options)
            after(kind, target, Path(path))
            return result

        return function

    functions = {kind: changing(kind) for kind in originals} | {"fsync": fsync}
    try:
        for name, function in functions.items():
            setattr(os, name, function)
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


@contextmanager
def stopped(
    log: str = "", kill_at: tuple[Any, ...] = (), hold_at: tuple[Any, ...] = (), held: str = ""
) -> Iterator[None]:
    """Write all operations to the file `log`, and stop at one of them: kind, name and occurrence, from 1.

    The process kills itself after `kill_at`. Before `hold_at` it creates the file `held` and waits for its
    removal.
    """
    counts: Counter[tuple[str, ...]] = Counter()

    def before(kind: str, path: Path) -> None:
        counts["before", kind, name_of(path)] += 1
        if hold_at == (kind, name_of(path), counts["before", kind, name_of(path)]):
            Path(held).touch()
            while Path(held).exists():
                time.sleep(0.005)
        if kind == "sync":
            content = path.read_bytes()
            os.truncate(path, len(content) // 2)
            after("half", path, path)
            path.write_bytes(content)

    def after(kind: str, path: Path, source: Path) -> None:
        counts["after", kind, name_of(path)] += 1
        if log:
            with Path(log).open("a") as file:
                file.write(f"{kind}\t{name_of(path)}\n")
        if kill_at == (kind, name_of(path), counts["after", kind, name_of(path)]):
            os.kill(os.getpid(), signal.SIGKILL)

    with watched(before, after):
        yield


def stop(**how: Any) -> str:
    """Return code for a process that is to be `stopped`."""
    return f"import file_operations; stop = file_operations.stopped(**{how!r}); stop.__enter__()\n"


def name_of(path: Path) -> str:
    """Return folder and name, the same for all temporary files, all stimuli, all folders above the run."""
    folder, name = (part if part in FOLDERS else "above" for part in (path.parent.name, path.name))
    if path.name.startswith(TEMPORARY):
        name = f"{TEMPORARY}*"
    elif folder in ("stimuli", "records", "optimised", "checkpoints"):
        name = f"*{path.suffix}"
    elif folder in FOLDERS:
        name = path.name
    return f"{folder}/{name}"
