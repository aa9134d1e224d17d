from __future__ import annotations

import numpy as np
import pytest
from control_images import SEEDS, in_order, pixels, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.util import view_as_blocks

from stimgen.controls.block_shuffled import block_shuffled
from stimgen.errors import InputError


def whole_blocks(image, block_px):
    """The blocks of the grid in the middle, one a row, and what is left of the image without them."""
    height, width = image.shape[:2]
    above, left = height % block_px // 2, width % block_px // 2
    below, right = height % block_px - above, width % block_px - left
    colour = image.reshape(height, width, -1)
    grid = colour[above : height - below, left : width - right]
    blocks = view_as_blocks(np.ascontiguousarray(grid), (block_px, block_px, colour.shape[2]))
    frame = colour.copy()
    frame[above : height - below, left : width - right] = 0
    return blocks.reshape(-1, block_px * block_px * colour.shape[2]), frame


@settings(deadline=None)
@given(sources(), st.integers(1, 12), SEEDS)
def test_blocks_are_the_same_and_the_frame_stays(source, block_px, seed):
    height, width = source.shape[:2]
    if (height // block_px) * (width // block_px) < 2:
        with pytest.raises(InputError, match="does not hold two blocks"):
            block_shuffled(source, np.random.default_rng(seed), block_px=block_px)
        return
    shuffled = block_shuffled(source, np.random.default_rng(seed), block_px=block_px)
    assert shuffled.shape == source.shape
    before, frame = whole_blocks(source, block_px)
    after, frame_after = whole_blocks(shuffled, block_px)
    np.testing.assert_array_equal(in_order(after), in_order(before))
    np.testing.assert_array_equal(frame_after, frame)
    np.testing.assert_array_equal(in_order(pixels(shuffled)), in_order(pixels(source)))


@pytest.mark.parametrize(
    ("size", "cure"),
    [
        ((40, 31), "Set block_px to 20 or less."),
        ((9, 70), "Set block_px to 9 or less."),
        ((1, 1), "Use a larger image."),
    ],
)
def test_too_few_blocks(size, cure):
    source = np.zeros(size, np.float32)
    with pytest.raises(InputError) as caught:
        block_shuffled(source, np.random.default_rng(0), block_px=32)
    assert f"{size[1]} × {size[0]} px does not hold two blocks of 32 × 32 px." in caught.value.problem
    assert caught.value.cure == cure
