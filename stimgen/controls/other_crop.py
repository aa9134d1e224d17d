"""Another crop of the photograph: as near as nature comes to its own statistics."""

from __future__ import annotations

import numpy as np

from stimgen.controls.registration import Materials, register_control
from stimgen.images.pixels import Image, ImageError
from stimgen.images.sources import Box, Source


def _refuse_without_room(source: Source) -> None:
    box, (height, width), size_px = source.crop_box, source.original_size, source.pixels.shape[0]
    if free_place(box, (height, width), np.random.default_rng(0)) is not None:
        return
    side = min(max(height, width) // 2, height, width)
    cure = (
        f"Give the source a crop box of {side} px or less at a border, such as crop: [0, 0, {side}, {side}], "
        "or leave other_crop out."
    )
    if side < size_px:
        cure = f"It is too small for two crops of {size_px} px: use a larger one, or leave other_crop out."
    raise ImageError(
        f"other_crop: {source.origin} is {width} × {height} pixels and has no room for another crop beside "
        f"the source's (left {box.left}, top {box.top}, {box.width} px).",
        cure,
    )


@register_control("other_crop", check_source=_refuse_without_room)
def other_crop(source: Image, rng: np.random.Generator, materials: Materials) -> Image:
    """Return another square of the photograph that the source was cut from.

    It is as large as the source's and does not overlap it; all such places, in whole pixels of the file, are
    equally likely. The crops of several seeds may overlap each other.
    """
    photograph = materials.photograph()
    height, width = photograph.pixels.shape[:2]
    place = free_place(photograph.crop_box, (height, width), rng)
    assert place is not None, "sources without room are refused before any work"
    return photograph.crop(*place)


def free_place(box: Box, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int] | None:
    """Return the (left, top) of a square as large as `box` that does not overlap it; None if none fits.

    `box` is a square in an image of `size` (height, width). All places are equally likely.
    """
    side, (height, width) = box.width, size
    tops, lefts = np.arange(height - side + 1), np.arange(width - side + 1)
    beside = lefts[np.abs(lefts - box.left) >= side]
    # In rows above and below the box every column is free, in the others those beside it.
    columns = np.where(np.abs(tops - box.top) >= side, lefts.size, beside.size)
    if columns.sum() == 0:
        return None
    number = int(rng.integers(columns.sum()))
    row = int(np.searchsorted(np.cumsum(columns), number, side="right"))
    column = number - int(columns[:row].sum())
    return int((lefts if columns[row] == lefts.size else beside)[column]), int(tops[row])
