"""Time and memory that a plan needs: operations of the networks' layers, divided by the speed of a device."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.manifest import speed
from stimgen.manifest.plan import Stimulus
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.networks.architectures import NETWORKS, Convolution
from stimgen.networks.memory import evaluation_bytes
from stimgen.texture.presets import Gatys2015
from stimgen.texture.schedule import stages

BYTES_PER_FLOAT = 4

PROCESS_BYTES = 600_000_000
"""Memory of the interpreter with PyTorch before any image, rounded up."""


def estimate(manifest: Manifest, stimuli: Iterable[Stimulus], *, device: str = "auto") -> Estimate:
    """Return how long the textures of a plan take to synthesise, and how much memory that needs.

    The time is the number of operations (`stimulus_flops`) divided by a speed: that of earlier runs on the
    device if one was recorded, else for a CPU that of a matrix product measured now, times
    `speed.CONVOLUTION_SHARE`. Controls that synthesise no layer set are not counted: they take seconds, but
    for those that are registered with a cost.
    """
    stimuli = list(stimuli)
    device, device_name = find_device(device)
    counts = Counter(stimulus.synthesised for stimulus in stimuli)
    named = Counter(stimulus.control.name for stimulus in stimuli if stimulus.control)
    slow = {name: number for name, number in named.items() if CONTROLS[name].cost}
    beside = "".join(f"; {slow[name]} × {name} not counted, {CONTROLS[name].cost}" for name in slow)
    used = [layer_set for layer_set in counts if layer_set is not None]
    memory = PROCESS_BYTES + max((memory_bytes(manifest, layer_set) for layer_set in used), default=0)
    if not used:
        basis = f"no synthesis{beside or ': controls take seconds'}"
        return Estimate(0.0, memory, device_name, basis)
    flops = sum(counts[layer_set] * stimulus_flops(manifest, layer_set) for layer_set in used)
    gflops = speed.recorded_speed(speed.speed_name(device, manifest.synthesis))
    basis = "from the speed of earlier runs on this device"
    if gflops is None and device != "cpu":
        basis = "unknown until the first run on this device has measured it"
        return Estimate(None, memory, device_name, basis + beside)
    if gflops is None:
        gflops = speed.measured_cpu_speed() * speed.CONVOLUTION_SHARE
        basis = "from a matrix product timed just now"
    return Estimate(flops / (gflops * 1e9), memory, device_name, basis + beside)


def stimulus_flops(manifest: Manifest, layer_set: LayerSet) -> float:
    """Return the operations that synthesising one stimulus takes.

    In each stage of the schedule, one forward and one backward pass per evaluation. Backward, only the
    gradient of the image is needed and none of the weights, so it costs as much as forward. What the
    published procedure counts as an iteration is nearly always one evaluation. The stopping
    rules of `multiscale` can end it before.
    """
    architecture, full_px = NETWORKS[layer_set.network.name](), manifest.image.size_px
    return sum(
        stage.evaluations * 2 * architecture.forward_flops(stage.layers, stage.size_px)
        for stage in stages(manifest.synthesis, architecture, layer_set.layers, full_px)
    )


def memory_bytes(manifest: Manifest, layer_set: LayerSet) -> int:
    """Return the memory that synthesising one stimulus at a time takes, beyond the process itself.

    Activations and their gradients in float32, which is what the last evaluations use; kernels and biases,
    and as much again for copies in the order that the convolutions want; the pairs of steps and gradients
    that L-BFGS remembers, in float64 where scipy does.
    """
    size_px, architecture = manifest.image.size_px, NETWORKS[layer_set.network.name]()
    evaluation = evaluation_bytes(architecture, layer_set.layers, size_px, pooling=layer_set.network.pooling)
    steps = architecture.upto(architecture.deepest(layer_set.layers))
    kernels = sum(
        (step.kernel**2 * step.in_channels + 1) * step.out_channels
        for step in steps
        if isinstance(step, Convolution)
    )
    channels = 1 if manifest.image.color == "grey" else 3
    history = 2 * manifest.synthesis.history * channels * size_px**2
    bytes_of_history = 8 if isinstance(manifest.synthesis, Gatys2015) else BYTES_PER_FLOAT
    return evaluation + 2 * BYTES_PER_FLOAT * kernels + bytes_of_history * history


def find_device(device: str) -> tuple[str, str]:
    """Return a device's short name ("cpu", "cuda:0") and what it is."""
    kind, _, number = device.partition(":")
    if device not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isdecimal()):
        raise InputError(f'Unknown device "{device}".', "Known: auto, cpu, cuda, cuda:0, cuda:1, ….")
    names = [] if device == "cpu" or (device == "auto" and _torch_without_gpu()) else speed.gpu_names()
    if device == "cpu" or (device == "auto" and not names):
        return "cpu", speed.cpu_name()
    index = int(number or 0)
    if index >= len(names):
        found = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)) or "none"
        raise InputError(
            f"There is no GPU {device}; nvidia-smi lists: {found}.", "Choose another device, or cpu."
        )
    return f"cuda:{index}", names[index]


def _torch_without_gpu() -> bool:
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


@dataclass(frozen=True)
class Estimate:
    """What a plan will cost.

    Attributes
    ----------
    seconds
        Time to synthesise; None if the speed of the device is not known.
    memory_bytes
        Memory for one stimulus at a time.
    device_name
        The device, as people know it.
    basis
        Where the time comes from.
    """

    seconds: float | None
    memory_bytes: int
    device_name: str
    basis: str
