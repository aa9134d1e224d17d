"""Images of any size and kind, for the tests of matching."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from stimgen.images.read import read_image

LEVELS = {"constant": [0.3], "black": [0.0], "two values": [0.0, 1.0], "few values": [0.0, 0.5, 1.0]}


@st.composite
def sets(draw, count):
    """Several images of one shape, grey or colour: of all values, of a few, of one, or striped."""
    shape = (draw(st.integers(1, 16)), draw(st.integers(1, 16)), *draw(st.sampled_from([(), (3,)])))
    return tuple(draw(images(shape)) for _ in range(count))


@st.composite
def images(draw, shape):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["any values", "beyond the range", "stripes", *LEVELS]))
    if kind == "any values":
        return rng.random(shape, dtype=np.float32)
    if kind == "beyond the range":
        return rng.normal(0.5, 1, shape).astype(np.float32)
    if kind == "stripes":
        return np.broadcast_to(rng.random(shape[1:], dtype=np.float32), shape).copy()
    return rng.choice(np.array(LEVELS[kind], np.float32), size=shape)


def photographs(*names, height=48, width=48):
    """The middle of photographs, whose contrast is halved so that matching seldom leaves 0..1."""
    found = [read_image(f"skimage:{name}").pixels[100 : 100 + height, 60 : 60 + width] for name in names]
    return tuple(np.float32(0.25) + np.float32(0.5) * pixels for pixels in found)
