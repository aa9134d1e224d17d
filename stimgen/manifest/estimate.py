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
    on a CPU, by that of a matrix product. Controls that synthesise no layer set are not counted.
    """
    stimuli = list(stimuli)
    device, device_name = device_without_torch(device)
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
    """Return the operations that synthesising one stimulus takes at most.

    Backward, an evaluation costs as much as forward: only the gradient of the image is needed.
    """
    architecture, full_px = NETWORKS[layer_set.network.name](), manifest.image.size_px
    return sum(
        stage.evaluations * 2 * architecture.forward_flops(stage.layers, stage.size_px)
        for stage in stages(manifest.synthesis, architecture, layer_set.layers, full_px)
    )


def memory_bytes(manifest: Manifest, layer_set: LayerSet) -> int:
    """Return the bytes that synthesising one stimulus at a time takes, beyond the process itself.

    It holds activations and their gradients in float32; kernels and biases twice, for convolutions reorder
    them; and the pairs of steps and gradients that L-BFGS remembers, in float64 where scipy does.
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


def device_without_torch(device: str) -> tuple[str, str]:
    """Return a device's short name ("cpu", "cuda:0") and what it is."""
    kind, _, number = device.partition(":")
    if device not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isdecimal()):
        raise InputError(f'Unknown device "{device}".', "Known: auto, cpu, cuda, cuda:0, cuda:1, ….")
    no_gpu = device == "cpu" or (device == "auto" and importlib.metadata.version("torch").endswith("+cpu"))
    names = [] if no_gpu else speed.gpu_names()
    if device == "cpu" or (device == "auto" and not names):
        return "cpu", speed.cpu_name()
    index = int(number or 0)
    if index >= len(names):
        found = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)) or "none"
        raise InputError(
            f"There is no GPU {device}; nvidia-smi lists: {found}.", "Choose another device, or cpu."
        )
    return f"cuda:{index}", names[index]
