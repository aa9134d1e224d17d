"""The devices of this machine and their speed: recorded by earlier runs, or measured on a CPU."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from stimgen.atomic import write_file
from stimgen.counting import counted
from stimgen.texture.presets import Gatys2015, Multiscale

# Part of the speed of a matrix product that synthesis reaches on a CPU (channels-last convolutions).
CONVOLUTION_SHARE = 0.85
_MATRIX_SIDE = 512
_MEASURE_S = 0.08


def speed_file() -> Path:
    """Return where speeds are recorded: speed.json in $STIMGEN_CACHE, or in the user's cache folder."""
    folder = os.environ.get("STIMGEN_CACHE")
    return (Path(folder) if folder else user_cache_path("stimgen")) / "speed.json"


def speed_name(device: str, preset: Multiscale | Gatys2015) -> str:
    """Return the name under which a device's speed with a preset is recorded: "cuda:0 multiscale auto"."""
    precision = f" {preset.precision}" if isinstance(preset, Multiscale) else ""
    return f"{device} {preset.preset}{precision}"


def record_speed(name: str, gflops: float) -> None:
    """Keep the speed that a run reached, for later estimates."""
    path = speed_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(_recorded() | {name: gflops}, indent=2, sort_keys=True).encode())


def recorded_speed(name: str) -> float | None:
    """Return the speed recorded under `name`, GFLOP/s; None if no run has recorded one."""
    return _recorded().get(name)


def measured_cpu_speed() -> float:
    """Return the speed of a float32 matrix product on this CPU, GFLOP/s; takes about 0.1 s."""
    # Ones are as fast as any numbers and need no generator.
    matrix = np.ones((_MATRIX_SIDE, _MATRIX_SIDE), dtype=np.float32)
    product = matrix @ matrix
    times, start = [], time.perf_counter()
    now = start
    while now < start + _MEASURE_S:
        np.matmul(matrix, matrix, out=product)
        before, now = now, time.perf_counter()
        times.append(now - before)
    return float(2 * _MATRIX_SIDE**3 / min(times) / 1e9)


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves (by numbers), in its order."""
    names = _of_driver("name")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    chosen = [int(index) for index in visible.split(",") if index.strip().isdecimal()]
    return [names[index] for index in chosen if index < len(names)]


def gpu_drivers() -> list[str]:
    """Return the versions of NVIDIA's driver, one for all GPUs; empty without it."""
    return list(dict.fromkeys(_of_driver("driver_version")))


def _of_driver(query: str) -> list[str]:
    """Return a property of every GPU, as NVIDIA's driver gives it; empty without a driver."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def cpu_name() -> str:
    """Return the model of the processor, with the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        found = re.search(r"^model name\s*:(.*)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.M)
    except OSError:  # not Linux
        found = None
    return f"{found[1].strip() if found else 'CPU'} ({counted(cores, 'core', 'cores')})"


def _recorded() -> dict[str, float]:
    """Return all recorded speeds; none from a damaged file, which the next run writes anew."""
    try:
        speeds = dict(json.loads(speed_file().read_text(encoding="utf-8")))
        return {name: float(speed) for name, speed in speeds.items() if 0 < speed < math.inf}
    except (OSError, ValueError, TypeError):
        return {}
