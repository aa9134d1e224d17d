"""Faults caused for real in processes of their own, and the table of what was seen."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "networks"))  # network_files.py

from fault_bench import Bench, Launcher, bytes_of, write_manifest
from fault_table import Fault, as_markdown, as_text, into_page

from stimgen.manifest.speed import cpu_name

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLONE_NEWNS = 0x20000
ROW = "row of the fault table"
ROWS: dict[tuple[str, int, str], tuple[str, str, str, str]] = {}
"""By file, line and name of the test, in whichever order tests end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults-table",
        metavar="FILE",
        type=Path,
        help="Write the fault table to FILE as Markdown, between its marker comments if it has them.",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("faults")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = [ROWS[place] for place in sorted(ROWS)]
    if rows:
        terminalreporter.write_line("")
        terminalreporter.write(as_text(rows))
    file = config.getoption("--faults-table", None)
    if file is not None:
        page = file.read_text("utf-8") if file.exists() else ""
        file.write_text(into_page(page, as_markdown(rows)), "utf-8")
        terminalreporter.write_line(f"Fault table written to {file}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture
def fault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fault]:
    """The test's row in the table."""
    row = Fault(
        {cpu_name(): "the CPU", f"{tmp_path}/results/faults/": "", f"{tmp_path}/": "", str(tmp_path): "."}
    )
    yield row
    failed = request.node.stash.get(FAILED, True)
    name, done, expects, seen = row.row
    if failed:
        seen = f"TEST FAILED. {seen}"
    else:
        assert name, "the test names no fault"
        assert seen, "the test saw nothing"
    # With the report it comes also from another process (pytest-xdist).
    request.node.user_properties.append((ROW, (name or request.node.name, done, expects, seen)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for name, row in report.user_properties:
            if name == ROW:
                ROWS[report.location[0], report.location[1] or 0, report.nodeid] = tuple(row)


@pytest.fixture(scope="session")
def namespace() -> str:
    """Give this process mounts of its own, which end with it; return why not, empty if it has them."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, to mount disks: unshare -Urm python -m pytest -m faults"
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS):
        return f"cannot have mounts of its own: {os.strerror(ctypes.get_errno())}"
    made = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True)
    return made.stderr.strip()


@pytest.fixture(scope="session")
def launcher(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """The process that starts `stimgen`; it sees the mounts of this one."""
    cache = tmp_path_factory.mktemp("cache")
    python_path = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": python_path,
        "STIMGEN_CACHE": str(cache),
        "COLUMNS": "110",
    }
    command = [sys.executable, str(HERE / "fault_launcher.py")]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(request: dict[str, object]) -> int:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        assert process.stdout.readline() == "ready\n"
        yield Launcher(ask, environment)
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def bench(launcher: Launcher, tmp_path: Path, fault: Fault, reference: dict[str, bytes]) -> Bench:
    """A folder with the manifest of these tests, and `stimgen` to be run in it."""
    write_manifest(tmp_path)
    return Bench(tmp_path, launcher, fault, reference)


@pytest.fixture(scope="session")
def reference(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes that the manifest's run has if nothing happens."""
    folder = tmp_path_factory.mktemp("reference")
    write_manifest(folder)
    bench = Bench(folder, launcher, Fault({}), {})
    ran = bench.stimgen("run", "manifests/faults.yaml")
    assert ran.code == 0, ran.errors
    return bytes_of(bench.results)


@pytest.fixture
def disk(namespace: str, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that mounts a disk below `tmp_path`; skips where it cannot."""
    if namespace:
        pytest.skip(namespace)
    mounted: list[Path] = []

    def mount(name: str, options: str = "size=2m") -> Path:
        path = tmp_path / name
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)
