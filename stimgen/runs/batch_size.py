"""How many textures are made at once: what fits on a GPU, measured there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from stimgen.manifest.estimate import memory_bytes
from stimgen.manifest.resolved import LayerSet, Manifest
from stimgen.runs.networks import Networks
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

LARGEST = 128
SHARE_OF_MEMORY = 0.8
"""The rest is for CUDA itself, gaps between blocks of memory, and other programs."""

WIDEST_MAPS, MOST_NUMBERS = 64, 2**30
"""Maps of full size in VGG, and numbers in one tensor up to which all CUDA kernels of PyTorch are safe."""

MeasurePeak = Callable[[Manifest, Networks, LayerSet, torch.device, int], int]
"""Returns the peak memory in bytes of a number of problems with one layer set."""


def default_batch_size(manifest: Manifest, networks: Networks, device: torch.device) -> int:
    """Return 1 for a CPU, where batches gain nothing; on a GPU what fits in 80 % of its memory, at most 128.

    Measured with the layer set that takes most memory. The card's whole memory counts and not what happens to
    be free, so that the same command on the same machine divides a manifest in the same way. `gatys2015`
    solves its problems one after the other.
    """
    if device.type == "cpu" or not manifest.layer_sets or not isinstance(manifest.synthesis, Multiscale):
        return 1
    total = torch.cuda.get_device_properties(device).total_memory
    return fitting(manifest, networks, device, int(SHARE_OF_MEMORY * total), measured_peak)


def fitting(
    manifest: Manifest, networks: Networks, device: torch.device, memory: int, measure: MeasurePeak
) -> int:
    """Return how many problems fit into `memory` bytes: at least 1, at most `LARGEST`.

    The peaks with 1 and with 2 problems say what each further problem takes; it grows in proportion. If not
    even 2 fit on the device, the answer is 1.
    """
    largest = max(manifest.layer_sets.values(), key=lambda entry: memory_bytes(manifest, entry))
    try:
        one, two = (measure(manifest, networks, largest, device, problems) for problems in (1, 2))
    except torch.OutOfMemoryError:
        return 1
    each = max(1, two - one)
    addressable = MOST_NUMBERS // (WIDEST_MAPS * manifest.image.size_px**2)
    return max(1, min(LARGEST, addressable, 1 + (memory - one) // each))


def measured_peak(
    manifest: Manifest, networks: Networks, layer_set: LayerSet, device: torch.device, problems: int
) -> int:
    """Return the most memory in bytes that PyTorch had allocated while it made the first steps at full size.

    Two evaluations in the precision of the descent and two in float32, so that the optimiser's memory and
    its step are in it.
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
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    synthesise(asked, extractor, short)
    return torch.cuda.max_memory_allocated(device)
