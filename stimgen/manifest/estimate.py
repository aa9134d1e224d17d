"""Time and memory that a plan needs, and the devices of this machine with the speeds of earlier runs."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import subprocess
import timeit
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stimgen.atomic import write_file
from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.networks.architectures import NETWORKS, Convolution, evaluation_bytes
from stimgen.networks.processor import cpu_name
from stimgen.networks.weights.cache import cache_folder
from stimgen.texture.presets import Gatys2015, Multiscale

BYTES_PER_FLOAT = 4
# Part of the speed of a matrix product that synthesis reaches on a CPU (channels-last convolutions).
CONVOLUTION_SHARE = 0.85
_MATRIX_SIDE = 512
# Memory of the interpreter with PyTorch before any image, rounded up.
PROCESS_BYTES = 600_000_000


@dataclass(frozen=True)
class Estimate:
    """Time of synthesis (None if unknown), memory for one stimulus, device, and where the time comes from."""

    seconds: float | None
    memory_bytes: int
    device_name: str
    basis: str


def estimate(manifest: Manifest, stimuli: Iterable[Stimulus], *, device: str = "auto") -> Estimate:
    """Return how long the textures of a plan take to synthesise, and how much memory that needs.

    The time is the number of operations divided by the speed of earlier runs on the device; if there is none
    on a CPU, by that of a matrix product. Controls that synthesise no layer set take the time for which they
    are registered, in proportion to pixels and channels.
    """
    stimuli = list(stimuli)
    device, device_name = device_without_torch(device)
    counts = Counter(stimulus.synthesised for stimulus in stimuli)
    named = Counter(stimulus.control.name for stimulus in stimuli if stimulus.control)
    planes = (manifest.image.size_px / 256) ** 2 * (1 if manifest.image.color == "grey" else 3)
    slow = {name: number * planes * CONTROLS[name].seconds for name, number in named.items()}
    beside = "".join(f"; {name} roughly {slow[name]:.0f} s of it" for name in slow if slow[name])
    other = sum(slow.values())
    used = [layer_set for layer_set in counts if layer_set is not None]
    memory = PROCESS_BYTES + max((memory_bytes(manifest, layer_set) for layer_set in used), default=0)
    if not used:
        basis = f"no synthesis{beside or ': controls take seconds'}"
        return Estimate(other, memory, device_name, basis)
    flops = sum(counts[layer_set] * stimulus_flops(manifest, layer_set) for layer_set in used)
    gflops = recorded_speeds().get(speed_name(device, manifest.synthesis))
    basis = "from the speed of earlier runs on this device"
    if gflops is None and device == "cpu":
        gflops = measured_cpu_speed() * CONVOLUTION_SHARE
        basis = "from a matrix product timed just now"
    elif gflops is None:
        basis = "unknown until the first run on this device has measured it"
    seconds = flops / (gflops * 1e9) + other if gflops else None
    return Estimate(seconds, memory, device_name, basis + beside)


def stimulus_flops(manifest: Manifest, layer_set: LayerSet) -> float:
    """Return the operations that synthesising one stimulus takes at most.

    Backward, an evaluation costs as much as forward: only the gradient of the image is needed.
    """
    architecture = NETWORKS[layer_set.network.name]()
    return sum(
        stage.evaluations * 2 * architecture.forward_flops(stage.layers, stage.size_px)
        for stage in manifest.stages(layer_set)
    )


def memory_bytes(manifest: Manifest, layer_set: LayerSet) -> int:
    """Return the bytes that synthesising one stimulus at a time takes, beyond the process itself.

    It holds activations and their gradients in float32; kernels and biases twice, for convolutions reorder
    them; and the pairs of steps and gradients that L-BFGS remembers, in float64 where scipy does.
    """
    size_px, architecture = manifest.image.size_px, NETWORKS[layer_set.network.name]()
    evaluation = evaluation_bytes(architecture, layer_set.layers, size_px, pooling=layer_set.network.pooling)
    steps = architecture.upto(architecture.deepest(layer_set.layers))
    convolutions = [step for step in steps if isinstance(step, Convolution)]
    kernels = sum((step.kernel**2 * step.in_channels + 1) * step.out_channels for step in convolutions)
    channels = 1 if manifest.image.color == "grey" else 3
    history = 2 * manifest.synthesis.history * channels * size_px**2
    bytes_of_history = 8 if isinstance(manifest.synthesis, Gatys2015) else BYTES_PER_FLOAT
    return evaluation + 2 * BYTES_PER_FLOAT * kernels + bytes_of_history * history


def device_without_torch(device: str) -> tuple[str, str]:
    """Return a device's short name ("cpu", "cuda:0") and what it is."""
    kind, _, number = device.partition(":")
    if device not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isdecimal()):
        raise InputError(f'Unknown device "{device}".', "Known: auto, cpu, cuda, cuda:0, cuda:1, ….")
    no_gpu = device == "cpu" or (device == "auto" and importlib.metadata.version("torch").endswith("+cpu"))
    names = [] if no_gpu else gpu_names()
    if device == "cpu" or (device == "auto" and not names):
        return "cpu", cpu_name()
    index = int(number or 0)
    if index >= len(names):
        found = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)) or "none"
        raise InputError(
            f"There is no GPU {device}; nvidia-smi lists: {found}.", "Choose another device, or cpu."
        )
    return f"cuda:{index}", names[index]


def speed_file() -> Path:
    """Return where speeds are recorded: speed.json in $STIMGEN_CACHE, or in the user's cache folder."""
    return cache_folder() / "speed.json"


def speed_name(device: str, preset: Multiscale | Gatys2015) -> str:
    """Return the name under which a device's speed with a preset is recorded: "cuda:0 multiscale auto"."""
    precision = f" {preset.precision}" if isinstance(preset, Multiscale) else ""
    return f"{device} {preset.preset}{precision}"


def record_speed(name: str, gflops: float) -> None:
    """Keep the speed that a run reached, for later estimates."""
    path = speed_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(recorded_speeds() | {name: gflops}, indent=2, sort_keys=True).encode())


def recorded_speeds() -> dict[str, float]:
    """Return the speeds of earlier runs, GFLOP/s, by name; none if their file is damaged."""
    try:
        speeds = dict(json.loads(speed_file().read_text(encoding="utf-8")))
        return {name: float(speed) for name, speed in speeds.items() if 0 < speed < math.inf}
    except (OSError, ValueError, TypeError):
        return {}


def measured_cpu_speed() -> float:
    """Return the speed of a float32 matrix product on this CPU, GFLOP/s; takes about 0.1 s."""
    # Ones are as fast as any numbers and need no generator.
    matrix = np.ones((_MATRIX_SIDE, _MATRIX_SIDE), dtype=np.float32)
    times = timeit.repeat(lambda: matrix @ matrix, number=1, repeat=20)
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
