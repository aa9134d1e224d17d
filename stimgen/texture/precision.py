"""The precision of the convolutions during a descent, decided by a short trial on this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from stimgen.atomic import write_file
from stimgen.networks.architectures import NETWORKS, Pool
from stimgen.networks.extractor import FeatureExtractor
from stimgen.networks.processor import cpu_name
from stimgen.networks.weights.cache import cache_folder
from stimgen.texture.statistics.gram import gram_matrix

FIRST_PX, TRIAL_PX = 32, {"cpu": 128, "cuda": 512}
"""Sides of the images of a trial: one that shows emulation soon, and one on which a device is at work."""

ROUNDS = {"first": 2, "last": 5}
"""Evaluations in each precision, by turns; the fastest counts."""

HOPELESS, GAIN = 3.0, 1.1
"""How many times slower bfloat16 ends a trial at once, and how many times faster it must be."""

_decided: dict[Path, torch.dtype] = {}


def descent_dtype(precision: str, extractor: FeatureExtractor) -> torch.dtype:
    """Return the dtype of the convolutions during the descent; a network in float64 stays in float64.

    "auto" is bfloat16 if a trial found it at least 1.1 times as fast as float32. What a trial decided is
    kept in the cache folder, for each processor or GPU, version of PyTorch, number of threads and network, so
    that bytes repeat, also when other layers of the network are measured. Where it cannot be kept, there is
    one trial in each process. GPUs before Ampere, which emulate bfloat16, have none.
    """
    if precision == "float32" or extractor.dtype != torch.float32:
        return extractor.dtype
    if precision == "bfloat16":
        return torch.bfloat16
    if extractor.device.type == "cuda" and torch.cuda.get_device_capability(extractor.device) < (8, 0):
        return torch.float32
    key = _key(extractor)
    path = cache_folder() / "precision" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    if path not in _decided:
        # Another process may decide meanwhile; what is kept first counts.
        _decided[path] = _kept(path, key) or _kept_now(path, key, extractor)
    return _decided[path]


def _key(extractor: FeatureExtractor) -> str:
    """Return all that speed depends on."""
    device = extractor.device
    on_cpu = device.type == "cpu"
    where = (
        f"{cpu_name()}, {torch.get_num_threads()} threads" if on_cpu else torch.cuda.get_device_name(device)
    )
    return f"{where}, PyTorch {torch.__version__}, {extractor.architecture.name}"


def _kept(path: Path, key: str) -> torch.dtype | None:
    """Return what an earlier trial decided; None if there is none, or its file is damaged."""
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return names[found["faster"]] if found["of"] == key else None
    return None


def _kept_now(path: Path, key: str, extractor: FeatureExtractor) -> torch.dtype:
    """Return what a trial decides, or what another process has decided meanwhile."""
    found = _trial(extractor)
    if earlier := _kept(path, key):
        return earlier
    content = {"of": key, "faster": str(found).removeprefix("torch.")}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(content, indent=2).encode())
    return found


def _trial(extractor: FeatureExtractor) -> torch.dtype:
    """Return the faster dtype of loss and gradient, in about a second where bfloat16 is not emulated."""
    whole = whole_network(extractor)
    smallest = whole.architecture.smallest_px(whole.architecture.steps[-1].name)
    networks = {dtype: whole.to(dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    sides = ((FIRST_PX, ROUNDS["first"]), (TRIAL_PX[extractor.device.type], ROUNDS["last"]))
    best = {}
    for side_px, rounds in sides:
        evaluations = {dtype: evaluation(own, max(side_px, smallest)) for dtype, own in networks.items()}
        times = [
            {dtype: seconds(one, extractor.device) for dtype, one in evaluations.items()}
            for _ in range(rounds)
        ]
        best = {dtype: min(each[dtype] for each in times) for dtype in networks}
        if best[torch.bfloat16] > HOPELESS * best[torch.float32]:
            break
    return torch.bfloat16 if GAIN * best[torch.bfloat16] < best[torch.float32] else torch.float32


def whole_network(extractor: FeatureExtractor) -> FeatureExtractor:
    """Return all layers of the network that an extractor was cut from, with weights that are equal."""
    registered = NETWORKS.get(extractor.architecture.name)
    network = registered() if registered else extractor.architecture
    kernels = [torch.full(step.kernel_shape, 0.01) for step in network.convolutions]
    biases = tuple(torch.zeros(len(kernel)) for kernel in kernels)
    found = replace(extractor, architecture=network, kernels=tuple(kernels), biases=biases)
    found = replace(found, pooling="average", padding="mirrored")
    return found.to(extractor.device, torch.float32)


def evaluation(extractor: FeatureExtractor, side_px: int) -> Callable[[], object]:
    """Return a function that computes Gram matrices of all pools and the deepest layer, and a gradient."""
    steps = extractor.architecture.steps
    layers = list(dict.fromkeys([step.name for step in steps if isinstance(step, Pool)] + [steps[-1].name]))
    image = torch.full((1, 3, side_px, side_px), 0.5, device=extractor.device, requires_grad=True)

    def evaluate() -> object:
        grams = extractor.features(image, layers, gram_matrix)
        return torch.autograd.grad(torch.stack([gram.sum() for gram in grams.values()]).sum(), image)

    return evaluate


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the time that some work takes on a device."""
    start = _now(device)
    work()
    return _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
