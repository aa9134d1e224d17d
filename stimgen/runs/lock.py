"""One run at a time in a folder, also where several machines share it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from stimgen.atomic import create_file
from stimgen.bounded import read_file
from stimgen.errors import StimgenError

LOCK = ".lock"
"""The file that the operating system locks. It is empty, and stays."""

OWNER = "lock.json"
"""The file that names who works in the folder. It is there while somebody does, or was killed."""

MOST_BYTES = 10_000
WAIT_S = 0.5
"""How long a lock is waited for: who only checks whether a run is at work holds it for a moment."""


class LockError(StimgenError):
    """Another run is at work in the folder, or may be."""


class Owner(BaseModel):
    """Who works in a folder."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    started: str  # an ISO date
    job: str | None = None  # of Slurm; it keeps its number when it is requeued
    restarts: int | None = None  # how often the job was requeued
    task: str | None = None  # others with the same task may work beside it

    def __str__(self) -> str:
        """Return how a message names it."""
        return f"process {self.pid} on {self.host}, since {self.started}"


@contextlib.contextmanager
def locked(folder: Path, task: str | None = None) -> Iterator[None]:
    """Keep other runs out of a folder.

    Between processes of one machine, the lock of the operating system decides, which ends with its process.
    Not all file systems carry such locks between machines, so `lock.json` names the owner. An owner on this
    machine without the lock was killed, and is replaced. One on another machine is not, unless it was this
    very Slurm job before it was requeued.
    """
    lock, path = FileLock(folder / LOCK), folder / OWNER
    no_locks = OSError(0, "its file system has no locks")
    try:
        lock.acquire(timeout=WAIT_S, poll_interval=0.02)
    except Timeout:
        raise _at_work(folder, "Another") from None
    except NotImplementedError as error:
        raise no_locks from error
    try:
        if not _is_held(folder):  # filelock fell back to a file that would outlive a killed process
            raise no_locks
        own = _this_process(task)
        found = _intact_owner(folder)
        if found is not None:
            requeued = found.job == own.job and (own.restarts or 0) > (found.restarts or 0)
            if found.host != own.host and not requeued:
                raise _elsewhere(folder, found)
            path.unlink()
        try:
            create_file(path, own.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")
        except FileExistsError:  # another machine was faster
            found = _intact_owner(folder)
            raise _at_work(folder, "Another") if found is None else _elsewhere(folder, found) from None
        try:
            yield
        finally:
            # Unless it was deleted by hand and is another's by now. If it stays, the next run replaces it.
            with contextlib.suppress(ValidationError, OSError):
                if read_owner(folder) == own:
                    path.unlink()
    finally:
        lock.release()


def read_owner(folder: Path) -> Owner | None:
    """Return who works in a folder, or did when it was killed; None if there is nobody."""
    try:
        return Owner.model_validate_json(read_file(folder / OWNER, MOST_BYTES))
    except FileNotFoundError:
        return None


def refuse_held(folder: Path) -> None:
    """Raise LockError if a process holds the lock of a folder, which may be read-only; take no lock."""
    if os.name != "nt" and _is_held(folder):  # on Windows, nobody else can read a locked file
        raise _at_work(folder, "A")


def refuse_at_work(folder: Path) -> None:
    """Raise LockError if a run is at work in a folder, here or on another machine, or was killed there."""
    refuse_held(folder)
    found = _intact_owner(folder)
    if found is not None and found.host != socket.gethostname():
        raise _elsewhere(folder, found)


def _is_held(folder: Path) -> bool:
    """Return whether some process holds the lock of the operating system; on Windows, True."""
    if os.name == "nt":
        return True
    import fcntl

    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def _this_process(task: str | None) -> Owner:
    number, job, restarts = os.environ.get("SLURM_JOB_ID"), None, None
    if number is not None:
        job = f"{os.environ.get('SLURM_CLUSTER_NAME', '')}:{number}"
        restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    host, pid = socket.gethostname(), os.getpid()
    return Owner(host=host, pid=pid, started=started, job=job, restarts=restarts, task=task)


def _intact_owner(folder: Path) -> Owner | None:
    path = folder / OWNER
    try:
        return read_owner(folder)
    except ValidationError:
        raise LockError(
            f"{path} is damaged, so it is unknown whether another stimgen run is at work in {folder}.",
            f"If there is none, on this and on every other machine, delete {path} and run again.",
        ) from None


def _at_work(folder: Path, article: str) -> LockError:
    owner = None
    with contextlib.suppress(ValidationError, OSError):
        owner = read_owner(folder)
    choice = ", or choose another folder with --out" if article == "Another" else ""
    return LockError(
        f"{article} stimgen run is at work in {folder}{'' if owner is None else f': {owner}'}.",
        f"Wait until it has finished{choice}.",
    )


def _elsewhere(folder: Path, owner: Owner) -> LockError:
    return LockError(
        f"A stimgen run on another machine is at work in {folder}, or was killed there: {owner}.",
        f"Wait until it has finished. If it is gone, delete {folder / OWNER} and run again.",
    )
