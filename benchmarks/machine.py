"""The machine that a benchmark runs on."""

from __future__ import annotations

import resource
import sys
import time

import torch

from stimgen.runs.environment import device_name, versions


def describe_machine(device: torch.device) -> str:
    """Return a line with the device, the number of threads and the versions."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{device_name(device)}, {torch.get_num_threads()} threads, {packages}"


def matrix_product_gflops(
    device: torch.device, dtype: torch.dtype = torch.float32, side: int = 2048
) -> float:
    """Return the speed of a product of two square matrices, GFLOP/s: the best of 20."""
    best = float("inf")
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    for _ in range(20):
        synchronise(device)
        start = time.perf_counter()
        a @ b
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory of this process; on a GPU all that PyTorch had allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
