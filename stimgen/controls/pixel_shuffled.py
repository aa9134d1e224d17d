"""Pixels in random places: the histogram and nothing else."""

from __future__ import annotations

import numpy as np

from stimgen.controls.registration import Materials, register_control
from stimgen.images.pixels import Image


@register_control("pixel_shuffled", of_mask="inside")
def pixel_shuffled(source: Image, rng: np.random.Generator, materials: Materials) -> Image:
    """Return the source's pixels in random places, which keeps the histogram and nothing else.

    All permutations of the pixels are equally likely. A pixel of a colour image moves as a whole, which
    keeps the joint histogram of R, G and B. With a mask, those inside are moved among each other.
    """
    inside = np.ones(source.shape[:2], bool) if materials.inside is None else materials.inside
    image = source.copy()
    image[inside] = rng.permutation(source[inside])
    return image
