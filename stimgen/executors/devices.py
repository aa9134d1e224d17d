"""Workers on this machine: which device each has, and how many threads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from stimgen.counting import counted
from stimgen.errors import InputError


@dataclass(frozen=True)
class LocalWorker:
    """A worker on this machine."""

    name: str
    device: str  # as the worker sees it
    visible: str  # its CUDA_VISIBLE_DEVICES: one card, which is cuda:0 there; empty for none
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """Its environment variables."""
        libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return dict.fromkeys(libraries, str(self.threads)) | {"CUDA_VISIBLE_DEVICES": self.visible}


def parse_devices(text: str, cores: int | None = None) -> tuple[LocalWorker, ...]:
    """Return the workers for "cuda:0,cuda:1" or "cpu:4"; the cores are divided among them.

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
    >>> [worker.threads for worker in parse_devices("cpu:2", cores=8)]
    [4, 4]
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    present = cores or (len(affinity(0)) if affinity else os.cpu_count() or 1)
    wished = os.environ.get("OMP_NUM_THREADS", "")
    cores = cores or (int(wished) if wished.isdecimal() and int(wished) > 0 else present)
    if form := re.fullmatch(r"cpu:([0-9]{1,9})", text):
        count = int(form[1])
        if not 1 <= count <= present:
            raise InputError(
                f"{text}: each worker needs a core, and {counted(present, 'is there', 'are there')}.",
                f"Write cpu:{present}, or a smaller number of workers, at least 1.",
            )
        return tuple(LocalWorker(f"cpu-{i}", "cpu", "", max(1, cores // count)) for i in range(count))
    if re.fullmatch(r"cuda:[0-9]{1,4}(,cuda:[0-9]{1,4})*", text):
        indices = [int(name.removeprefix("cuda:")) for name in text.split(",")]
        if len(set(indices)) < len(indices):
            raise InputError(f"{text}: a GPU is named twice.", "Name each once; its worker uses all of it.")
        threads = max(1, cores // len(indices))
        return tuple(LocalWorker(f"cuda-{i}", "cuda:0", _visible(i), threads) for i in indices)
    raise InputError(f'"{text}" names no devices.', "Write cuda:0,cuda:1 for GPUs, or cpu:4 for 4 workers.")


def _visible(index: int) -> str:
    """Return the name that CUDA has for the card that this process sees as number `index`."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return seen[index].strip() if index < len(seen) and seen[index].strip() else str(index)
