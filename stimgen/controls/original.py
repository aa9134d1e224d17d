"""The source itself, shown among the stimuli."""

from __future__ import annotations

import numpy as np

from stimgen.controls.registration import register_control
from stimgen.images.pixels import Image


@register_control("original", seeded=False, is_source=True, of_mask="inside", common=True)
def original(source: Image, rng: np.random.Generator) -> Image:
    """Return a copy of the source: the same pixels, which shares every statistic with it."""
    return source.copy()
