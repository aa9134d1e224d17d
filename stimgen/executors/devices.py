"""Workers on this machine: which device each has, and how many threads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from stimgen.counting import counted
from stimgen.errors import InputError

_GPUS = re.compile(r"cuda:[0-9]{1,4}(,cuda:[0-9]{1,4})*")
_CPUS = re.compile(r"cpu:([0-9]{1,9})")


@dataclass(frozen=True)
class Place:
    """Where one worker computes.

    Attributes
    ----------
    name
        Name of the worker.
    device
        The device that the worker uses, as it sees it.
    visible
        CUDA_VISIBLE_DEVICES of the worker: one card, so that it is cuda:0 there; empty for none.
    threads
        Threads of its arithmetic.
    """

    name: str
    device: str
    visible: str
    threads: int


def parse_devices(text: str, cores: int | None = None) -> tuple[Place, ...]:
    """Return the workers that "cuda:0,cuda:1" or "cpu:4" asks for; the cores are divided among them.

    Parameters
    ----------
    text
        One GPU or several, or a number of workers on the CPU.
    cores
        Cores to divide; by default those that this process may use, or OMP_NUM_THREADS of them.

    Raises
    ------
    InputError
        If it is neither, names a GPU twice, or asks for more workers than cores.

    Examples
    --------
    >>> [place.threads for place in parse_devices("cpu:2", cores=8)]
    [4, 4]
    """
    present, cores = cores or present_cores(), cores or available_cores()
    if form := _CPUS.fullmatch(text):
        count = int(form[1])
        if not 1 <= count <= present:
            raise InputError(
                f"{text}: each worker needs a core, and {counted(present, 'is there', 'are there')}.",
                f"Write cpu:{present}, or a smaller number of workers, at least 1.",
            )
        return tuple(Place(f"cpu-{i}", "cpu", "", max(1, cores // count)) for i in range(count))
    if _GPUS.fullmatch(text):
        indices = [int(one.removeprefix("cuda:")) for one in text.split(",")]
        if len(set(indices)) < len(indices):
            raise InputError(f"{text}: a GPU is named twice.", "Name each once; its worker uses all of it.")
        threads = max(1, cores // len(indices))
        return tuple(Place(f"cuda-{i}", "cuda:0", _visible(i), threads) for i in indices)
    raise InputError(f'"{text}" names no devices.', "Write cuda:0,cuda:1 for GPUs, or cpu:4 for 4 workers.")


def _visible(index: int) -> str:
    """Return what CUDA calls the card that this process sees as number `index`."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return seen[index].strip() if index < len(seen) and seen[index].strip() else str(index)


def available_cores() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS, if it is set, says how many it should."""
    wished = os.environ.get("OMP_NUM_THREADS", "")
    if wished.isdecimal() and int(wished) > 0:
        return int(wished)
    return present_cores()


def present_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
