"""Runs the real command in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    output: str


class Commands:
    """Runs `stimgen` on a manifest, each time in a process of its own with one thread."""

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> None:
        self.folder = folder
        self.manifest = folder / "manifests" / f"{manifest['name']}.yaml"
        self.manifest.parent.mkdir()
        self.manifest.write_text(yaml.safe_dump(dict(manifest), sort_keys=False))
        self._environment = {**environment, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path, module: str = "stimgen") -> subprocess.Popen[str]:
        """Start `stimgen ARGUMENTS` in a process group of its own; Ctrl-C is not ignored there."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=self.folder,
            env=self._environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str | Path) -> Ended:
        """Run `stimgen ARGUMENTS` to its end."""
        return ended(self.start(*arguments))

    def stop(self) -> None:
        """Kill what is left of the commands."""
        for process in self._started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def ended(process: subprocess.Popen[str], timeout: float = 600) -> Ended:
    """Wait for a command."""
    output, _ = process.communicate(timeout=timeout)
    return Ended(process.returncode, output)


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    return found


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the workers that Dask started for a command."""
    return [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    """Return whether a process is a worker that is alive."""
    try:
        return any("spawn_main" in part for part in process.cmdline())
    except psutil.Error:
        return False
