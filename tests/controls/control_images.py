"""Sources of any size and kind, for the tests of controls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import strategies as st

from stimgen.controls import Materials, TextureSpec
from stimgen.images.masks import place_inside
from stimgen.images.read import read_image
from stimgen.images.sources import Box, Photograph
from stimgen.matching.apply import Reference
from stimgen.texture.presets import Multiscale

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


@dataclass(frozen=True)
class Size:
    size_px: int
    color: str


def materials(source):
    """What controls may use: a photograph around the source, another source, a small texture model."""
    side, color = source.shape[0], "rgb" if source.ndim == 3 else "grey"
    around = [(side, side), (side, side), *([(0, 0)] if color == "rgb" else [])]
    photograph = Photograph(
        np.pad(source, around, mode="reflect"), "a photograph", Box(side, side, side, side), Size(side, color)
    )
    quick = Multiscale(evaluations=(6,), shallow_evaluations=(), plain_evaluations=2)
    model = TextureSpec("vgg16", "average", "mirrored", {"conv1_1": 1.0}, None, quick)
    return Materials("cpu", lambda: photograph, Reference((source, source[::-1])), model)


WHOLE = Materials("cpu", lambda: pytest.fail("no photograph is needed"))


def masked(image):
    """A source with a disc as its mask, filled outside with the mean of the inside, and what controls get."""
    rows, columns = np.indices(image.shape[:2]) - (len(image) - 1) / 2
    inside = np.hypot(rows, columns) < 0.4 * len(image)
    return place_inside(image[inside], inside), replace(WHOLE, inside=inside)
