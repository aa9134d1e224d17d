"""Real processes for little: a server that has imported stimgen forks one for each command line.

A forked process gets signals as any other, and SIGKILL ends it wherever it is. To start Python and PyTorch
for each would take seconds.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; and what it wrote."""

    code: int
    output: str
    errors: str


class Launcher:
    """The server, as tests see it; one process at a time."""

    def __init__(self, server: subprocess.Popen[str], environment: Mapping[str, str], folder: Path) -> None:
        self.environment = environment
        self._server = server
        self._streams = {name: folder / name for name in ("stdout", "stderr")}

    def start(self, *arguments: object, before: str = "", cwd: Path | None = None, **env: str) -> int:
        """Start `stimgen ARGUMENTS` after the Python code `before`, and return the number of the process."""
        for path in self._streams.values():
            path.write_text("")  # not what the process before has said
        streams = {name: str(path) for name, path in self._streams.items()}
        argv = [str(argument) for argument in arguments]
        request = {"argv": argv, "before": before, "cwd": str(cwd or HERE), "env": env, **streams}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def errors(self) -> str:
        """Return what the process has written to the standard error so far."""
        return self._streams["stderr"].read_text("utf-8", "replace")

    def wait(self) -> Ended:
        """Wait for the end of the process."""
        code = self._answer()
        return Ended(code, self._streams["stdout"].read_text("utf-8", "replace"), self.errors())

    def run(self, *arguments: object, **how: Any) -> Ended:
        """Start a command and wait for its end."""
        self.start(*arguments, **how)
        return self.wait()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


@contextmanager
def launcher(folder: Path, **environment: str) -> Iterator[Launcher]:
    """Start the server, whose processes import what tests do and have a cache of their own."""
    paths = [*map(str, (HERE, HERE / "runs", HERE / "faults", HERE / "networks", HERE.parent))]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        "STIMGEN_CACHE": str(folder / "cache"),
        **environment,
    }
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Launcher(server, environment, folder)
        assert server.stdin is not None
        server.stdin.close()


def serve() -> None:
    """Fork a process per request and answer with its number, then with its exit code."""
    import torch

    from stimgen.runs import preparation

    torch.set_num_threads(1)
    # Reading the package's weights takes most of the time of a tiny run: once for all.
    preparation.find_weights = functools.cache(preparation.find_weights)
    preparation.find_weights("vgg16", "imagenet")
    gc.collect()
    gc.freeze()  # the forked processes share this memory
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            run(**json.loads(line))
        os.write(1, f"{process}\n".encode())
        _, status = os.waitpid(process, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def run(argv: list[str], before: str, cwd: str, env: dict[str, str], stdout: str, stderr: str) -> NoReturn:
    """Run one command line, and end the process without tidying up the shared memory."""
    import stimgen.cli

    # A shell's background jobs ignore interrupts, and their children with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["stimgen", *argv]
    code: object = 70
    try:
        variables = {"__name__": "before"}  # kept, as is what they refer to
        exec(before, variables)
        stimgen.cli.main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)


if __name__ == "__main__":
    serve()
