"""Sources of any size and kind, for the tests of controls."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from stimgen.images.read import read_image

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 24)
LEVELS = {"constant": [0.3], "black": [0.0], "two values": [0.0, 1.0], "few values": [0.0, 0.5, 1.0]}


@st.composite
def sources(draw, sides=SIDES):
    """Grey or colour images of any sides, of all values, of a few or of one."""
    shape = (draw(sides), draw(sides), *draw(st.sampled_from([(), (3,)])))
    rng = np.random.default_rng(draw(SEEDS))
    kind = draw(st.sampled_from(["any values", *LEVELS]))
    if kind == "any values":
        return rng.random(shape, dtype=np.float32)
    return rng.choice(np.array(LEVELS[kind], np.float32), size=shape)


def photograph(name, height, width):
    """The upper left part of a photograph."""
    return np.ascontiguousarray(read_image(f"skimage:{name}").pixels[:height, :width])


def pixels(image):
    """The values of each pixel, (H · W, 1) or (H · W, 3)."""
    return image.reshape(image.shape[0] * image.shape[1], -1)


def in_order(values):
    """The rows of a 2-D array, sorted."""
    return values[np.lexsort(values.T[::-1])]
