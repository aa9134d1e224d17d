"""Who makes the batches of a run, and how many textures are made at once."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from stimgen.controls import CONTROLS
from stimgen.manifest.estimate import memory_bytes
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.networks.device import find_device
from stimgen.runs.batches import Batch
from stimgen.runs.environment import device_name, rounding
from stimgen.runs.job import Computed, Job
from stimgen.runs.preparation import Networks, Preparation
from stimgen.runs.progress import Progress
from stimgen.runs.tables import Failure
from stimgen.texture.precision import descent_dtype
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

MOST_AHEAD, LARGEST_AHEAD_PX = 4, 512
"""Most controls that are computed at once, and their largest size: each takes memory for a forward pass."""

LARGEST = 128
SHARE_OF_MEMORY = 0.8
"""The rest is for CUDA itself, gaps between blocks of memory, and other programs."""

WIDEST_MAPS, MOST_NUMBERS = 64, 2**30
"""Maps of full size in VGG, and numbers in one tensor up to which all CUDA kernels of PyTorch are safe."""


class Executor(Protocol):
    """Makes the batches that the runner has planned, in any order, and decides nothing else.

    A stimulus is made when its PNG file and its record are in the run folder and it is in `Job.done`. The
    same batches give the same stimuli with every executor, as far as the devices compute alike.
    """

    device: str  # of this process, for example "cpu"
    device_name: str  # of all devices that made stimuli, for run.json
    made_with: Mapping[str, str] | None  # what bytes depend on beside recipes; None if workers may differ
    shared: bool  # whether the problems of a batch share their passes, as they do on a GPU

    def batch_size(self, prepared: Preparation) -> int:
        """Return how many textures are best made at once."""

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches, show it on `progress`, and yield after each what could not be made of it.

        `StimgenError` is raised if no batch can be made any more; what was made stays.
        """


class LocalExecutor:
    """Makes one batch after the other in this process, on "cpu", "cuda:N", or "auto": a GPU if any."""

    def __init__(self, device: str = "auto") -> None:
        self._device = find_device(device)
        self.device = str(self._device)
        self.device_name = device_name(self._device)
        self.made_with: Mapping[str, str] | None = rounding(self._device)
        self.shared = self._device.type != "cpu"

    def batch_size(self, prepared: Preparation) -> int:
        """Return 1 on a CPU, and what fits on a GPU."""
        return default_batch_size(prepared.manifest, prepared.networks, self._device)

    def make(self, job: Job, batches: Sequence[Batch], progress: Progress) -> Generator[list[Failure]]:
        """Make batches in their order, and yield after each what could not be made of it.

        On a CPU, quick controls are computed ahead of their turn in several threads, which together have as
        many cores as PyTorch, and written to disk in this one. Also one alone: sums depend on the number of
        threads.
        """
        ahead = [batch for batch in batches if self._device.type == "cpu" and is_quick(job, batch)]
        threads = torch.get_num_threads()
        workers = min(MOST_AHEAD, threads)
        pool = ThreadPoolExecutor(workers, "ahead", torch.set_num_threads, (threads // workers,))
        for batch in ahead:
            job.prepared.networks.extractor(batch.network)  # with all threads, as what is kept of it
        following = iter(ahead)
        computing: dict[Batch, Future[list[Computed]]] = {}
        try:
            for batch in batches:
                for other in itertools.islice(following, 2 * workers - len(computing)):
                    computing[other] = pool.submit(_computed, job, other)
                with progress.batch(batch):
                    begun = computing.pop(batch, None)
                    failures = job.make(batch, None if begun is None else begun.result())
                yield failures
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # of threads to come, which have what was set last in any thread


def is_quick(job: Job, batch: Batch) -> bool:
    """Return whether a batch is of quick controls, of a size of which several fit in memory."""
    return job.prepared.manifest.image.size_px <= LARGEST_AHEAD_PX and all(
        stimulus.control is not None
        and stimulus.synthesised is None
        and not CONTROLS[stimulus.control.name].seconds
        for stimulus in batch.stimuli
    )


def _computed(job: Job, batch: Batch) -> list[Computed]:
    return list(job.compute(batch))


def default_batch_size(manifest: Manifest, networks: Networks, device: torch.device) -> int:
    """Return 1 for a CPU, where batches gain nothing; on a GPU what fits in 80 % of its memory, at most 128.

    The layer set that takes most memory is measured with 1 and with 2 problems; each further problem takes as
    much as the second. The whole memory of the card counts and not what is free, so that the same command on
    the same machine divides a manifest in the same way. `gatys2015` solves its problems one after the other.
    """
    if device.type == "cpu" or not manifest.layer_sets or not isinstance(manifest.synthesis, Multiscale):
        return 1
    memory = int(SHARE_OF_MEMORY * torch.cuda.get_device_properties(device).total_memory)
    largest = max(manifest.layer_sets.values(), key=lambda layer_set: memory_bytes(manifest, layer_set))
    try:
        one, two = (measured_peak(manifest, networks, largest, device, problems) for problems in (1, 2))
    except torch.OutOfMemoryError:
        return 1
    addressable = MOST_NUMBERS // (WIDEST_MAPS * manifest.image.size_px**2)
    return max(1, min(LARGEST, addressable, 1 + (memory - one) // max(1, two - one)))


def measured_peak(
    manifest: Manifest, networks: Networks, layer_set: LayerSet, device: torch.device, problems: int
) -> int:
    """Return the most memory in bytes that PyTorch had allocated during the first steps at full size.

    Two evaluations in the precision of the descent and two in float32 include the memory of the optimiser.
    """
    extractor = networks.extractor(layer_set.network)
    size_px = manifest.image.size_px
    shape = (size_px, size_px) if manifest.image.color == "grey" else (size_px, size_px, 3)
    noise = np.random.default_rng(0)
    asked = [
        Problem(SourceImage(noise.random(shape, np.float32)), weighted_terms(layer_set.layer_weights), noise)
        for _ in range(problems)
    ]
    short = manifest.synthesis.model_copy(
        update={"smallest_px": size_px, "evaluations": (2,), "plain_evaluations": 2}
    )
    assert isinstance(short, Multiscale), "gatys2015 solves its problems one after the other"
    descent_dtype(short.precision, extractor)  # its trial takes memory as well
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    synthesise(asked, extractor, short)
    return torch.cuda.max_memory_allocated(device)
