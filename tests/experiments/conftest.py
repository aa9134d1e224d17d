"""PsychoPy on a virtual display. The experiments run in separate processes, as users run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from example_run import make_run, monitor_file

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Laboratory:
    """A virtual display of 1024 x 768 px and a folder with a run and a calibrated monitor."""

    environment: dict[str, str]
    folder: Path

    @property
    def run_folder(self) -> Path:
        return self.folder / "results" / "example"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def command(self, trial_list: Path, *options: object) -> list[str]:
        """Return the command line of the experiment that a trial list belongs to."""
        name = trial_list.stem
        script = ROOT / "experiments" / name / f"{name}.py"
        fixed = ["--participant", "p01", "--monitor", self.folder / "monitor.yaml", "--windowed"]
        return [str(word) for word in (sys.executable, script, trial_list, *fixed, *options)]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: list[str], exit_code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        with self.start(command) as process:
            output, errors = process.communicate(timeout=120)
        assert process.returncode == exit_code, output + errors
        return output + errors

    def python(self, code: str) -> str:
        """Run Python code with the folder experiments importable."""
        return self.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"])


@contextmanager
def display_of(depth: int, home: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a process that opens windows. Fails if CI lacks Xvfb or PsychoPy."""
    missing = [] if shutil.which("Xvfb") else ["Xvfb"]
    missing += [] if find_spec("psychopy") else ["psychopy"]
    if missing:
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"needs {' and '.join(missing)}")
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", f"1024x768x{depth}", "-nolisten", "tcp", "-noreset"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        assert number, "Xvfb did not start"
        # PsychoPy behaves otherwise where it finds one of these.
        environment = {k: v for k, v in os.environ.items() if k not in ("GITHUB_WORKFLOW", "TRAVIS", "CONDA")}
        # PsychoPy keeps its preferences in the home folder.
        yield environment | {"DISPLAY": f":{number}", "HOME": str(home), "OMP_NUM_THREADS": "1"}
        server.terminate()


@pytest.fixture(scope="session")
def virtual_display(tmp_path_factory):
    with display_of(24, tmp_path_factory.mktemp("home")) as environment:
        yield environment


@pytest.fixture
def laboratory(virtual_display, tmp_path):
    make_run(tmp_path / "results" / "example")
    monitor_file(tmp_path / "monitor.yaml")
    return Laboratory(dict(virtual_display), tmp_path)


@pytest.fixture
def laboratory_of_10_bits(tmp_path_factory):
    """The same with a display of 10 bits for each colour."""
    folder = tmp_path_factory.mktemp("ten")
    make_run(folder / "results" / "example")
    monitor_file(folder / "monitor.yaml", bits=10, linear=True)
    with display_of(30, tmp_path_factory.mktemp("home")) as environment:
        yield Laboratory(environment, folder)
