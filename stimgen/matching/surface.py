"""What images are matched to, as a surface along which a texture is optimised."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.matching.apply import Reference, planes_of, stretched
from stimgen.matching.spectrum import multiplicity, rings
from stimgen.texture.surfaces import Histogram, Luminance, Spectrum, Surface

LARGEST_SHARE = 0.25
"""Of pixels with one value, above which small steps would not change the ranks that matter."""


def surface_of(name: str, goal: Reference, source: Image) -> Surface | None:
    """Return the images with the histogram, luminance or spectrum of `goal`, as float32 tensors on the CPU.

    `name` is the statistic, as in `stimgen.matching.apply.Targets`, and `source` the image, (H, W) or
    (H, W, 3), whose texture is synthesised. None, so that images are matched afterwards, if a grey texture
    would need other values in each channel, or if more than `LARGEST_SHARE` of the pixels have one value.
    """
    shape = (source.shape[0], source.shape[1])
    planes = len(planes_of(source, goal.channels))

    def tensor(values: Any) -> Tensor | None:
        array: NDArray[np.float64] = np.array(values)
        if len(array) > planes and np.ptp(array, axis=0).any():
            return None
        return torch.from_numpy(array[:planes].astype(np.float32))[None]

    luminance = goal.channels == "luminance"
    match name:
        case "histogram":
            values = tensor([stretched(plane, shape[0] * shape[1]) for plane in goal.values])
            if values is None or any(_largest_share(plane) > LARGEST_SHARE for plane in values[0]):
                return None
            return Histogram.of(values[0], luminance)
        case "luminance":
            both = tensor(goal.luminance)
            return None if both is None else Luminance(both[..., :1, None], both[..., 1:, None], luminance)
        case _:
            of_rings = None if name == "full_spectrum" else rings(shape)
            amplitudes = goal.amplitude if of_rings is None else [mean[of_rings] for mean in goal.rotational]
            number = torch.from_numpy(multiplicity(shape).astype(np.float32))
            amplitude = tensor(amplitudes)
            ring = None if of_rings is None else torch.from_numpy(of_rings)
            return None if amplitude is None else Spectrum(amplitude, number, ring, luminance)


def _largest_share(values: Tensor) -> float:
    counts = torch.unique_consecutive(values, return_counts=True)[1]
    return int(counts.max()) / len(values)
