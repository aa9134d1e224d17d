from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from control_images import Size
from hypothesis import given
from hypothesis import strategies as st

from stimgen.controls import CONTROLS, Materials
from stimgen.controls.other_crop import free_place
from stimgen.images.pixels import ImageError
from stimgen.images.sources import Box, Photograph

CONTROL = CONTROLS["other_crop"]


@st.composite
def boxes(draw):
    side = draw(st.integers(1, 12))
    height, width = draw(st.integers(side, 40)), draw(st.integers(side, 40))
    left, top = draw(st.integers(0, width - side)), draw(st.integers(0, height - side))
    return Box(left, top, side, side), (height, width)


def places(box, size):
    """All places that do not overlap the box, one by one."""
    side = box.width
    return {
        (left, top)
        for top in range(size[0] - side + 1)
        for left in range(size[1] - side + 1)
        if left + side <= box.left
        or left >= box.left + side
        or top + side <= box.top
        or top >= box.top + side
    }


@given(boxes(), st.integers(0, 2**32 - 1))
def test_a_place_is_free_if_there_is_one(drawn, seed):
    box, size = drawn
    free = places(box, size)
    place = free_place(box, size, np.random.default_rng(seed))
    assert place in free if free else place is None


def test_all_free_places_are_equally_likely():
    box, size = Box(1, 2, 3, 3), (8, 7)
    rng = np.random.default_rng(1)
    free, draws = places(box, size), 20_000
    counts = Counter(free_place(box, size, rng) for _ in range(draws))
    assert set(counts) == free
    expected = draws / len(free)
    # chi^2 with n - 1 degrees of freedom: mean n - 1, variance 2 (n - 1); five SDs.
    chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi2 < len(free) - 1 + 5 * np.sqrt(2 * (len(free) - 1))


@pytest.mark.parametrize("color", ["grey", "rgb"])
def test_the_crop_is_brought_to_the_size_and_colour_of_the_source(color):
    pixels = np.random.default_rng(0).random((64, 32, 3), dtype=np.float32)
    photograph = Photograph(pixels, "a photograph", Box(0, 0, 32, 32), Size(16, color))
    shape = (16, 16) if color == "grey" else (16, 16, 3)
    made = CONTROL.make(np.zeros(shape), np.random.default_rng(3), Materials("cpu", lambda: photograph), {})
    tops = [photograph.crop(0, top) for top in range(32, 33)]
    assert made.image.shape == shape
    assert any(np.array_equal(made.image, crop) for crop in tops)


def test_no_room_is_an_error():
    source = SimpleNamespace(
        pixels=np.zeros((20, 20)), origin="photo.png", crop_box=Box(5, 0, 40, 40), original_size=(40, 50)
    )
    with pytest.raises(ImageError, match="no room for another crop") as caught:
        CONTROL.check_source(source)
    assert "[0, 0, 25, 25]" in caught.value.cure
    source.crop_box = Box(0, 0, 25, 25)
    CONTROL.check_source(source)
