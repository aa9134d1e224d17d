"""Whether an image has a frame: the contrast of its outermost pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

MARGIN = 6
"""The middle begins after one part in so many of the shorter side."""


@register_statistic(
    "border",
    order=16,
    columns=(
        Column(
            "border_contrast",
            "Border contrast",
            "Standard deviation of luminance over the outermost pixels, divided by that over the middle, "
            "which begins a sixth of the shorter side inside the border. A texture without a frame has 1 on "
            "average; one image scatters around it. Empty where the middle is constant.",
        ),
    ),
)
def border_contrast(image: DecodedImage) -> Values:
    """Return SD(ring) / SD(middle) of luminance, with the ring one pixel wide."""
    luminance = image.luminance
    width = max(min(luminance.shape) // MARGIN, 1)
    middle = luminance[width:-width, width:-width]
    if not middle.size or np.ptp(middle) == 0:
        return {"border_contrast": None}
    return {"border_contrast": float(_outermost(luminance).std() / middle.std())}


def _outermost(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.zeros(plane.shape, dtype=bool)
    inside[1:-1, 1:-1] = True
    ring: NDArray[np.float64] = plane[~inside]
    return ring
