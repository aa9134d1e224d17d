"""Real processes for little: a server that has imported everything forks the command line.

A forked process gets signals as any other, and SIGKILL ends it wherever it is. To start Python and PyTorch
for each would take seconds.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; what it wrote to the standard error."""

    code: int
    errors: str
    seconds: float


class Forker:
    """The server, as tests see it; one process at a time."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._errors = server, folder / "stderr.txt"

    def start(self, *arguments: object, **order: Any) -> int:
        """Start a command in a process of its own, and return its number."""
        order |= {"arguments": [str(argument) for argument in arguments], "errors": str(self._errors)}
        self._errors.write_text("")  # not what the process before has said
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._line())

    @property
    def held(self) -> Path:
        """The file that is there while a process waits where it was told to."""
        return self._errors.with_name(f"{self._errors.name}.held")

    def errors(self) -> str:
        """Return what the process has written to the standard error so far."""
        return self._errors.read_text("utf-8")

    def wait(self) -> Ended:
        """Wait for the end of the process."""
        code, seconds = json.loads(self._line())
        return Ended(code, self.errors(), seconds)

    def run(self, *arguments: object, **order: Any) -> Ended:
        """Start a command and wait for its end."""
        self.start(*arguments, **order)
        return self.wait()

    def _line(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the server has ended"
        return line


@contextmanager
def forker(folder: Path, manifest: Path) -> Iterator[Forker]:
    """Start the server, which first runs `manifest` once: of controls alone, so that no gradient is computed.

    A process in which gradients were computed cannot be forked.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "STIMGEN_CACHE": str(folder / "cache")}
    with subprocess.Popen(
        [sys.executable, __file__, str(manifest)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == "ready\n"
        yield Forker(server, folder)
        server.stdin.close()


def _serve(manifest: str) -> None:
    import torch

    from stimgen.cli import app
    from stimgen.runs import preparation

    torch.set_num_threads(1)
    preparation.find_weights = functools.cache(preparation.find_weights)
    app(["run", "--quiet", manifest], standalone_mode=False)
    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        started, pid = time.monotonic(), os.fork()
        if pid == 0:
            _command(**order)
        _say(str(pid))
        _, status = os.waitpid(pid, 0)
        _say(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - started]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _command(
    arguments: list[str],
    errors: str,
    every_s: float | None = None,
    log: str | None = None,
    kill_at: list[Any] | None = None,
    hold_at: list[Any] | None = None,
) -> None:
    """Run a command line and end the process.

    Parameters
    ----------
    arguments
        After "stimgen".
    errors
        File for the standard error.
    every_s
        Replaces the shortest time between checkpoints.
    log
        File to which the operations on files are written, one per line.
    kill_at, hold_at
        As for `file_operations.Watch`; where it waits, it does for the deletion of the file ERRORS.held.
    """
    from file_operations import Watch

    from stimgen.cli import main
    from stimgen.runs import checkpoints

    # A shell's background jobs ignore interrupts, and their children with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    file = os.open(errors, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(file, 2)
    os.dup2(file, 1)
    sys.argv = ["stimgen", *arguments]
    if every_s is not None:
        checkpoints.EVERY_S = every_s
    code: object = 1
    try:
        with Watch(log, kill_at, hold_at, Path(f"{errors}.held")):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
