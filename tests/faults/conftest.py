"""Real faults in real processes, on disks that are mounted for a test."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "networks"))  # network_files.py

import launching
from fault_bench import Bench, bytes_of, write_manifest
from launching import Launcher

HERE = Path(__file__).parent
CLONE_NEWNS = 0x20000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("faults")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def namespace() -> str:
    """Give this process its own mounts, which end with it; return why that is impossible, or ""."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, to mount disks: unshare -Urm python -m pytest -m faults"
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS):
        return f"cannot have its own mounts: {os.strerror(ctypes.get_errno())}"
    made = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True)
    return made.stderr.strip()


@pytest.fixture(scope="session")
def launcher(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Start the process that starts `stimgen`; it sees the mounts of this one."""
    with launching.launcher(tmp_path_factory.mktemp("launcher"), COLUMNS="110") as started:
        yield started


@pytest.fixture(scope="session")
def reference(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of an undisturbed run of the manifest."""
    folder = tmp_path_factory.mktemp("reference")
    write_manifest(folder)
    bench = Bench(folder, launcher, {})
    ran = bench.run()
    assert ran.code == 0, ran.errors
    return bytes_of(bench.results)


@pytest.fixture
def bench(launcher: Launcher, tmp_path: Path, reference: dict[str, bytes]) -> Bench:
    """A folder with the manifest of these tests, in which `stimgen` can be run."""
    write_manifest(tmp_path)
    return Bench(tmp_path, launcher, reference)


@pytest.fixture
def disk(namespace: str, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that mounts a small disk below `tmp_path`."""
    if namespace:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(namespace)
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
