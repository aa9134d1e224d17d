"""Pixels in random places: the histogram and nothing else."""

from __future__ import annotations

import numpy as np

from stimgen.controls.registration import register_control
from stimgen.images.pixels import Image


@register_control("pixel_shuffled")
def pixel_shuffled(source: Image, rng: np.random.Generator) -> Image:
    """Return the source's pixels in random places, which keeps the histogram and nothing else.

    All permutations of the pixels are equally likely. A pixel of a colour image moves as a whole, which
    keeps the joint histogram of R, G and B.
    """
    pixels = source.reshape(-1, *source.shape[2:])
    return rng.permutation(pixels).reshape(source.shape)
