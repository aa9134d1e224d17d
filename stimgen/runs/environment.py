"""What the stimuli were made with."""

from __future__ import annotations

import contextlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

from stimgen.manifest.speed import cpu_name

OPTIONAL = ("plenoptic",)
PACKAGES = ("stimgen", "torch", "numpy", "scipy", "scikit-image", "pillow")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a pixel or a statistic."""
    found = {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
    for package in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def rounding(device: torch.device) -> dict[str, str]:
    """Return what the last bits of a result depend on beside its recipe, to compare it: nothing is shown."""
    found = {"device": device_name(device), "build": torch.__version__, **versions()}
    if device.type == "cpu":
        found["threads"] = str(torch.get_num_threads())
    return found


@cache
def device_name(device: torch.device) -> str:
    """Return a device's name as people know it."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return cpu_name()
