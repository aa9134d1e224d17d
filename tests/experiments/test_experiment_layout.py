from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.shared.errors import ExperimentError
from experiments.shared.layout import check_layout, corner_px

SCREEN_PX = (48, 40)
CENTRES = st.tuples(st.floats(-30, 30), st.floats(-30, 30))


@given(CENTRES, st.integers(1, 20))
def test_image_is_on_the_screen_within_half_a_pixel_of_its_place(centre, side):
    needed = [abs(along) + side / 2 - screen / 2 for along, screen in zip(centre, SCREEN_PX, strict=True)]
    try:
        corner = corner_px(centre, (side, side), SCREEN_PX)
    except ExperimentError:
        assert max(needed) > -0.5
        return
    for start, along, screen in zip(corner, centre, SCREEN_PX, strict=True):
        assert 0 <= start <= screen - side
        assert abs(start + side / 2 - screen / 2 - along) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("distance", "at_once", "problem"),
    [(9, True, "overlap"), (9, False, None), (10, True, None), (25, False, "not inside the window")],
)
def test_patches_that_overlap_or_leave_the_screen_are_refused(distance, at_once, problem):
    centres = {"left": (0, 0), "right": (distance, 0)}
    if problem is None:
        check_layout(centres, 10, SCREEN_PX, at_once=at_once)
        return
    with pytest.raises(ExperimentError, match=problem):
        check_layout(centres, 10, SCREEN_PX, at_once=at_once)
