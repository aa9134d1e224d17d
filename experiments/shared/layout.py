"""Where patches are on the screen: between whole pixels, inside it, and none upon another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from experiments.shared.errors import ExperimentError


def corner_px(
    centre_px: tuple[float, float], size_px: tuple[int, int], screen_px: tuple[int, int]
) -> tuple[int, int]:
    """Return where an image begins, right and up from the lower left corner of the screen.

    An image must begin between two pixels; where it does not, it is resampled without a word.

    Parameters
    ----------
    centre_px
        Where its centre is to be, right and up from the centre of the screen; rounded to what can be.
    size_px, screen_px
        Width and height of the image and of the screen.

    Raises
    ------
    ExperimentError
        If the image reaches out of the screen.
    """
    starts = [
        math.floor(screen / 2 + along - side / 2 + 0.5)
        for along, side, screen in zip(centre_px, size_px, screen_px, strict=True)
    ]
    for start, side, screen in zip(starts, size_px, screen_px, strict=True):
        if not 0 <= start <= screen - side:
            raise ExperimentError(
                f"An image of {size_px[0]} × {size_px[1]} px at ({centre_px[0]:.0f}, {centre_px[1]:.0f}) px "
                f"from the centre is not inside the window of {screen_px[0]} × {screen_px[1]} px.",
                "Use a larger screen, smaller patches or a smaller --eccentricity-deg.",
            )
    return starts[0], starts[1]


def check_layout(
    centres_px: Mapping[str, tuple[float, float]], side_px: int, screen_px: tuple[int, int], *, at_once: bool
) -> None:
    """Raise ExperimentError if a square patch leaves the screen or, shown `at_once`, overlaps another."""
    corners = {
        place: corner_px(centre, (side_px, side_px), screen_px) for place, centre in centres_px.items()
    }
    for first, second in itertools.combinations(corners, 2) if at_once else ():
        across, up = (abs(a - b) for a, b in zip(corners[first], corners[second], strict=True))
        if across < side_px and up < side_px:
            raise ExperimentError(
                f"The patches {first} and {second}, of {side_px} × {side_px} px, overlap.",
                "Use a larger --eccentricity-deg or smaller patches.",
            )
