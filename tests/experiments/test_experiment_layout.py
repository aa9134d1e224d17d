from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.shared.errors import ExperimentError
from experiments.shared.layout import check_layout, corner_px

SCREEN_PX = (48, 40)
CENTRES = st.tuples(st.floats(-30, 30), st.floats(-30, 30))


def covered(centre, side):
    """Return the pixels of a square patch, or None if one is not on the screen."""
    try:
        left, low = corner_px(centre, (side, side), SCREEN_PX)
    except ExperimentError:
        return None
    return set(itertools.product(range(left, left + side), range(low, low + side)))


@given(CENTRES, st.integers(1, 20))
def test_image_is_on_the_screen_within_half_a_pixel_of_its_place(centre, side):
    pixels = covered(centre, side)
    if pixels is None:
        assert any(
            abs(along) + side / 2 > screen / 2 - 0.5 for along, screen in zip(centre, SCREEN_PX, strict=True)
        )
        return
    for along, axis, screen in zip(centre, (0, 1), SCREEN_PX, strict=True):
        values = [pixel[axis] for pixel in pixels]
        assert 0 <= min(values) <= max(values) < screen
        assert abs((min(values) + max(values) + 1) / 2 - screen / 2 - along) <= 0.5 + 1e-9


@given(st.lists(CENTRES, min_size=1, max_size=3), st.integers(1, 20), st.booleans())
def test_overlapping_patches_are_refused(centres, side, at_once):
    pixels = [covered(centre, side) for centre in centres]
    outside = None in pixels
    overlap = not outside and any(a & b for a, b in itertools.combinations(pixels, 2))
    named = dict(zip("abc", centres, strict=False))
    if outside or (overlap and at_once):
        with pytest.raises(ExperimentError, match="not inside the window" if outside else "overlap"):
            check_layout(named, side, SCREEN_PX, at_once=at_once)
    else:
        check_layout(named, side, SCREEN_PX, at_once=at_once)
