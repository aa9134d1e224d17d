"""One run at a time in a folder: real processes, and owners on other machines."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from stimgen.runs.lock import LOCK, OWNER, LockError, locked, read_owner
from stimgen.runs.store import RunFolder, StoreError

HOLD = """
import socket, sys
from pathlib import Path
if len(sys.argv) > 2:
    socket.gethostname = lambda: sys.argv[2]
from stimgen.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder, *host):
    command = [sys.executable, "-c", HOLD, str(folder), *host]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait()


def killed(folder, *host):
    with holder(folder, *host) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()


def write_owner(folder, **changes):
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": "2026-01-01T00:00:00+00:00"}
    (folder / OWNER).write_text(json.dumps(owner | changes))


def test_owner_file_exists_while_the_folder_is_locked(tmp_path):
    with locked(tmp_path):
        owner = json.loads((tmp_path / OWNER).read_text("utf-8"))
        assert owner.keys() == {"host", "pid", "started"}
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_refused_run_names_the_other(tmp_path):
    with holder(tmp_path) as process:
        with pytest.raises(LockError) as error, locked(tmp_path):
            pytest.fail("both are in")
        started = read_owner(tmp_path).started
    assert error.value.problem == (
        f"Another stimgen run is at work in {tmp_path}: "
        f"process {process.pid} on {socket.gethostname()}, since {started}."
    )
    assert error.value.exit_code == 4
    assert read_owner(tmp_path) is None
    with locked(tmp_path):
        pass


def test_killed_owner_is_replaced(tmp_path):
    killed(tmp_path)
    assert read_owner(tmp_path) is not None
    with locked(tmp_path):
        assert read_owner(tmp_path).pid == os.getpid()
    assert read_owner(tmp_path) is None


def test_owner_on_another_machine_is_not_replaced(tmp_path):
    killed(tmp_path, "node17")
    before = (tmp_path / OWNER).read_bytes()
    with pytest.raises(LockError) as error, locked(tmp_path):
        pytest.fail("node17 may be at work")
    assert "on node17, since " in error.value.problem
    assert f"delete {tmp_path / OWNER} and run again" in error.value.cure
    assert (tmp_path / OWNER).read_bytes() == before

    (tmp_path / OWNER).unlink()
    with locked(tmp_path):
        pass


def test_only_one_of_two_machines_that_start_at_once_gets_the_folder(tmp_path, monkeypatch):
    from stimgen.runs import lock

    create = lock.create_file

    def slower(path, content):
        write_owner(tmp_path, host="node17", pid=5)
        create(path, content)

    monkeypatch.setattr(lock, "create_file", slower)
    with pytest.raises(LockError, match="process 5 on node17"), locked(tmp_path):
        pytest.fail("both are in")
    assert read_owner(tmp_path).host == "node17"


@pytest.mark.parametrize("content", ["{", '{"host": 1}'])
def test_damaged_owner_file_is_not_replaced(tmp_path, content):
    (tmp_path / OWNER).write_text(content)
    with pytest.raises(LockError, match=f"{OWNER} is damaged") as error, locked(tmp_path):
        pytest.fail("somebody may be at work")
    assert f"delete {tmp_path / OWNER}" in error.value.cure


def test_owner_file_of_another_run_is_not_removed(tmp_path):
    with locked(tmp_path):
        (tmp_path / OWNER).unlink()
        write_owner(tmp_path, host="node17")
    assert read_owner(tmp_path).host == "node17"


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_file_system_without_locks_is_refused(tmp_path, monkeypatch, code):
    def flock(handle, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = RunFolder(tmp_path)
    folder.prepare()
    with pytest.raises(StoreError, match="cannot be locked: "), folder.locked():
        pytest.fail("nothing keeps others out")


def test_file_system_without_hard_links_works(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with locked(tmp_path):
        assert read_owner(tmp_path).pid == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
