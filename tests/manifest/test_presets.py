from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stimgen.texture.presets import Gatys2015, Multiscale


@given(size_px=st.integers(16, 4096), smallest_px=st.integers(16, 4096))
def test_scales_end_at_the_image_and_start_as_low_as_allowed(size_px: int, smallest_px: int) -> None:
    scales = Multiscale(smallest_px=smallest_px).scales(size_px)
    assert scales[-1] == size_px
    assert scales[0] // 2 < smallest_px
    assert all(upper // 2 == lower >= smallest_px for lower, upper in pairwise(scales))


def test_evaluations_end_at_full_size_and_the_first_repeats() -> None:
    preset = Multiscale(smallest_px=32, evaluations=(9, 7, 5))
    assert preset.schedule(256) == ((32, 9), (64, 9), (128, 7), (256, 5))
    assert preset.schedule(64) == ((32, 7), (64, 5))
    assert preset.schedule(32) == ((32, 5),)


def test_presets_are_frozen_versioned_and_closed() -> None:
    assert (Multiscale.version, Gatys2015.version) == (6, 1)
    with pytest.raises(ValidationError):
        Multiscale.model_validate({"smallest": 3})
    with pytest.raises(ValidationError):
        Gatys2015().history = 3  # type: ignore[misc]
