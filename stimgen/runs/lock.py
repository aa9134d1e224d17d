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
"""The file that says who is at work in the folder. It is there while somebody is, or was killed."""


MOST_BYTES = 10_000
LOOK_S = 0.5
"""How long a lock is waited for."""


class LockError(StimgenError):
    """Another run is at work in the folder, or may be."""


class Owner(BaseModel):
    """Who is at work in a folder.

    Attributes
    ----------
    host
        Name of the machine.
    pid
        Process.
    started
        When it took the folder, as an ISO date.
    job
        The Slurm job that it is; None outside of jobs. A job that is requeued keeps its number.
    restarts
        How often that job was requeued; None outside of jobs. Two processes of one job have the same.
    task
        What it does there, so that others who do the same may work beside it; None where nobody may.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    started: str
    job: str | None = None
    restarts: int | None = None
    task: str | None = None

    def __str__(self) -> str:
        """Return what a message says of it."""
        return f"process {self.pid} on {self.host}, since {self.started}"


@contextlib.contextmanager
def locked(folder: Path, task: str | None = None) -> Iterator[None]:
    """Keep other runs out of a folder.

    Between processes of one machine, the operating system's lock decides: it ends with its process, however
    that ends, and whatever process has its number later. Such locks are not always carried between machines
    that share a folder, so the file `lock.json` names the owner. One on this machine that does not hold the
    lock is gone, and replaced. Of one on another machine nothing is known, and it is not replaced, unless it
    was this very Slurm job, which has been requeued.

    Parameters
    ----------
    folder
        Which folder.
    task
        What `Owner.task` is to say.

    Raises
    ------
    LockError
        If another run is at work there, or was on another machine and did not end cleanly.
    OSError
        If the folder cannot be written, or its file system has no locks.
    """
    lock, path = FileLock(folder / LOCK), folder / OWNER
    try:
        # Who only looks whether somebody is at work holds it for a moment.
        lock.acquire(timeout=LOOK_S, poll_interval=0.02)
    except Timeout:
        with contextlib.suppress(ValidationError):
            if owner := read_owner(folder):
                raise _busy(folder, f": {owner}") from None
        raise _busy(folder, "") from None
    except NotImplementedError as error:
        raise _no_locks() from error
    try:
        if not _is_held(folder):  # filelock fell back to a mere file, which would outlive a killed process
            raise _no_locks()
        own = _take(folder, path, task)
        try:
            yield
        finally:
            # If it was deleted by hand, it may be another's by now. One that stays, the next run replaces.
            with contextlib.suppress(ValidationError, OSError):
                if read_owner(folder) == own:
                    path.unlink()
    finally:
        lock.release()


def read_owner(folder: Path) -> Owner | None:
    """Return who is at work in a folder, or was when it was killed; None if there is nobody.

    Raises
    ------
    ValidationError
        If the file says nothing that can be read.
    OSError
        If it cannot be read, or is no file.
    """
    try:
        return Owner.model_validate_json(read_file(folder / OWNER, MOST_BYTES))
    except FileNotFoundError:
        return None


def refuse_held(folder: Path) -> None:
    """Raise if a process holds the lock of a folder, which may be read-only; takes no lock itself.

    Raises
    ------
    LockError
        With who it is, as far as is known.
    """
    if os.name != "nt" and _is_held(folder):  # there a file that is locked can be read by nobody else
        owner = None
        with contextlib.suppress(ValidationError, OSError):
            owner = read_owner(folder)
        raise LockError(
            f"A stimgen run is at work in {folder}{'' if owner is None else f': {owner}'}.",
            "Wait until it has finished.",
        )


def _is_held(folder: Path) -> bool:
    """Return whether some process holds the operating system's lock; on Windows, True."""
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
    except OSError:  # file systems without locks
        return False
    finally:
        os.close(handle)
    return False


def refuse_elsewhere(folder: Path) -> None:
    """Raise if a run on another machine is at work in a folder, or was killed there.

    Raises
    ------
    LockError
        If there is one, or its file is damaged.
    """
    found = _readable_owner(folder, folder / OWNER)
    if found is not None and found.host != socket.gethostname():
        raise _elsewhere(folder, folder / OWNER, found)


def _slurm_job() -> str | None:
    number = os.environ.get("SLURM_JOB_ID")
    return None if number is None else f"{os.environ.get('SLURM_CLUSTER_NAME', '')}:{number}"


def _take(folder: Path, path: Path, task: str | None) -> Owner:
    host = socket.gethostname()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    job = _slurm_job()
    restarts = None if job is None else int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    own = Owner(host=host, pid=os.getpid(), started=started, job=job, restarts=restarts, task=task)
    found = _readable_owner(folder, path)
    if found is not None:
        requeued = found.job == own.job and (own.restarts or 0) > (found.restarts or 0)
        if found.host != host and not requeued:
            raise _elsewhere(folder, path, found)
        path.unlink()
    try:
        create_file(path, own.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")
    except FileExistsError:  # another machine was faster
        if (found := _readable_owner(folder, path)) is not None:
            raise _elsewhere(folder, path, found) from None
        raise _busy(folder, "") from None
    return own


def _readable_owner(folder: Path, path: Path) -> Owner | None:
    try:
        return read_owner(folder)
    except ValidationError:
        raise LockError(
            f"{path} is damaged, so it is unknown whether another stimgen run is at work in {folder}.",
            f"If there is none, on this and on every other machine, delete {path} and run again.",
        ) from None


def _busy(folder: Path, owner: str) -> LockError:
    return LockError(
        f"Another stimgen run is at work in {folder}{owner}.",
        "Wait until it has finished, or choose another folder with --out.",
    )


def _elsewhere(folder: Path, path: Path, owner: Owner) -> LockError:
    return LockError(
        f"A stimgen run on another machine is at work in {folder}, or was killed there: {owner}.",
        f"Wait until it has finished. If it is gone, delete {path} and run again.",
    )


def _no_locks() -> OSError:
    return OSError(0, "its file system has no locks")
