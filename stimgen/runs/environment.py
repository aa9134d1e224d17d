"""Versions and devices, for records and for reports of bugs."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import stimgen
from stimgen.manifest.estimate import gpu_drivers
from stimgen.networks.processor import cpu_name
from stimgen.networks.weights import list_weights
from stimgen.networks.weights.cache import cache_folder

if TYPE_CHECKING:
    import torch

OPTIONAL = ("plenoptic",)
PACKAGES = ("stimgen", "torch", "numpy", "scipy", "scikit-image", "pillow")
REPORTED = (
    *("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-image", "pillow", "tifffile", "pydantic"),
    *("typer", "plenoptic", "scikit-learn", "psychopy"),
)
"""Packages that a report of a bug names, installed or not."""


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a pixel or a statistic."""
    found = {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
    for package in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def rounding(device: torch.device) -> dict[str, str]:
    """Return what the last bits of a result depend on beside its recipe."""
    import torch

    found = {"device": device_name(device), "build": torch.__version__, **versions()}
    if device.type == "cpu":
        found["threads"] = str(torch.get_num_threads())
    return found


@cache
def device_name(device: torch.device) -> str:
    """Return the name of a device, such as "cuda:0 NVIDIA A100"."""
    if device.type == "cuda":
        import torch

        return f"{device} {torch.cuda.get_device_name(device)}"
    return cpu_name()


def report_lines() -> Iterator[str]:
    """Yield the lines of a report of a bug: versions, processors and weights, with what cannot be found.

    What takes long comes last.
    """
    folder = Path(stimgen.__file__).parent
    commit = commit_of(folder.parent)
    if commit:
        yield _line("commit", commit)
    yield _line("folder", folder)
    yield _line("python", f"{platform.python_version()}, {sys.executable}")
    yield _line("system", platform.platform())
    for package in REPORTED:
        try:
            yield _line(package, version(package))
        except PackageNotFoundError:
            yield _line(package, "not installed")
    yield _line("processor", cpu_name())
    yield from _torch_lines()
    yield _line("cache", cache_folder())
    try:
        present = [weights for weights in list_weights() if weights.path]
    except Exception as error:  # the other lines are needed all the same
        yield _line("weights", f"cannot be listed: {type(error).__name__}: {error}")
        return
    for weights in present:
        sha256 = f"tensors sha256:{weights.tensors_sha256}" if weights.tensors_sha256 else ""
        name = f"{weights.network} {weights.name}"
        yield _line("weights", f"{name}, {weights.location}, {weights.problem or sha256}")
    if not present:
        yield _line("weights", "none on this machine")


def commit_of(folder: Path) -> str | None:
    """Return the commit of a git checkout, and whether its files are changed; None for another folder.

    If git cannot say, the cause is returned.
    """
    if not (folder / ".git").exists():
        return None
    describe = ("describe", "--always", "--dirty=, with changes", "--abbrev=40", "--exclude=*")
    command = ["git", "--no-optional-locks", "-C", str(folder), *describe]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        )
    except subprocess.CalledProcessError as error:
        return f"unknown: {error.stderr.strip()}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return answer.stdout.strip()


def _torch_lines() -> Iterator[str]:
    """Yield the devices that PyTorch finds, or why PyTorch does not work: that may be the bug."""
    try:
        import torch

        yield _line("threads", torch.get_num_threads())
        yield _line("CUDA", torch.version.cuda or "PyTorch was built without it")
        for index in range(torch.cuda.device_count()):
            yield _line("device", f"cuda:{index} {torch.cuda.get_device_name(index)}")
        if not torch.cuda.is_available():
            yield _line("device", "no CUDA device is available")
        if torch.backends.mps.is_available():
            yield _line("device", "mps is available, and not used")
    except Exception as error:
        yield _line("PyTorch", f"does not work: {type(error).__name__}: {error}")
    for driver in gpu_drivers():
        yield _line("driver", driver)


def _line(key: str, value: object) -> str:
    return f"{key:<12}  {' '.join(str(value).split())}"
