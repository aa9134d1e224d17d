"""Runs the real command with workers, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

MANIFEST: dict[str, Any] = {
    "stimgen": 1,
    "name": "small",
    "image": {"size_px": 48, "ppd": 41},
    "sources": [{"id": "brick", "image": "skimage:brick"}, {"id": "gravel", "image": "skimage:gravel"}],
    "network": {"name": "vgg16", "normalise": False},
    "layer_sets": {"conv1_1": ["conv1_1"], "pool2": ["conv1_1", "pool1", "pool2"]},
    "seeds": {"first": 1, "count": 3},
    "synthesis": {"preset": "multiscale", "smallest_px": 24, "evaluations": [40, 60]},
    "controls": ["original", "phase_scrambled"],
    "trials": [{"id": "which", "design": "two_interval", "min_source_gap": 0}],
}
STIMULI = 20


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    output: str


class Bench:
    """Runs the real command in processes of their own, with one thread each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "manifests" / "small.yaml"
        self.manifest.parent.mkdir()
        self.manifest.write_text(yaml.safe_dump(MANIFEST, sort_keys=False))
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start `stimgen ARGUMENTS` in a process group of its own; Ctrl-C is not ignored there."""
        command = [sys.executable, "-m", "stimgen", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"} | environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str | Path, **environment: str) -> Ended:
        """Run `stimgen ARGUMENTS` to its end."""
        return ended(self.start(*arguments, **environment))

    def stop(self) -> None:
        """Kill what is left of the commands."""
        for process in self._started:
            if process.poll() is None:
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
        time.sleep(0.05)
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
