"""Square blocks in random places: structure within a block and nothing beyond."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from stimgen.controls.registration import register_control
from stimgen.errors import InputError
from stimgen.images.pixels import Image


def _problem(options: Mapping[str, Any], size_px: int) -> str | None:
    block_px = options["block_px"]
    return None if size_px // block_px >= 2 else " ".join(_too_few_blocks(size_px, size_px, block_px))


@register_control("block_shuffled", check=_problem)
def block_shuffled(
    source: Image,
    rng: np.random.Generator,
    *,
    block_px: Annotated[
        int,
        Field(ge=1, description="Side of a block, px. Best a divisor of `size_px`: what is left over stays."),
    ] = 32,
) -> Image:
    """Return the source's square blocks in random places, which keeps the histogram and local structure.

    As many whole blocks as fit are cut from a grid in the middle of the image, and permuted; all
    permutations are equally likely, so that a block can stay where it was. Pixels outside the grid stay.
    """
    height, width = source.shape[:2]
    rows, columns = height // block_px, width // block_px
    if rows * columns < 2:
        raise InputError(*_too_few_blocks(height, width, block_px))
    top, left = height % block_px // 2, width % block_px // 2
    grid = np.s_[top : top + rows * block_px, left : left + columns * block_px]
    # Axes: grid row, row in the block, grid column, column in the block, and in colour the channel.
    split = (rows, block_px, columns, block_px, *source.shape[2:])
    blocks = source[grid].reshape(split).swapaxes(1, 2)
    shuffled = rng.permutation(blocks.reshape(rows * columns, *blocks.shape[2:])).reshape(blocks.shape)
    image = source.copy()
    image[grid] = shuffled.swapaxes(1, 2).reshape(image[grid].shape)
    return image


def _too_few_blocks(height: int, width: int, block_px: int) -> tuple[str, str]:
    largest = max(min(height, width // 2), min(height // 2, width))
    return (
        f"An image of {width} × {height} px does not hold two blocks of {block_px} × {block_px} px.",
        f"Set block_px to {largest} or less." if largest else "Use a larger image.",
    )
