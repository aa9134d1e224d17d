"""Random places of square patches in square images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stimgen.trials.available import OptionError, Row

Place = tuple[int, int]
"""Top-left corner of a patch, (x, y), px."""


def side_of(crop_px: int | None, size_px: int, *, two: bool = False) -> int:
    """Return the side of patches of images of `size_px`: `crop_px`, or the whole image's for None.

    `two` of them do not overlap if the image has twice their side: squares lie apart along x or along y.
    """
    side = size_px if crop_px is None else crop_px
    most = size_px // 2 if two else size_px
    if side > most:
        patches = "Two patches" if two else "Patches"
        patches += " of whole images" if crop_px is None else f" of {side} px"
        patches += " that do not overlap" if two else ""
        raise OptionError(
            "crop_px",
            f"{patches} do not fit into one stimulus of {size_px} px.",
            f"Set crop_px to {most // 2 * 2} at most, or make larger stimuli.",
        )
    return side


def place_patches(images: Mapping[str, str], size_px: int, side: int, rng: np.random.Generator) -> Row:
    """Return the columns P_id, P_x and P_y of each patch P, at random places."""
    of_image: dict[str, list[str]] = {}
    for name, image in images.items():
        of_image.setdefault(image, []).append(name)
    row: Row = {}
    for image, names in of_image.items():
        places = place_two(size_px, side, rng) if len(names) == 2 else (place_one(size_px, side, rng),)
        for name, (x, y) in zip(names, places, strict=True):
            row |= {f"{name}_id": image, f"{name}_x": x, f"{name}_y": y}
    return row


def place_one(size_px: int, side: int, rng: np.random.Generator) -> Place:
    """Return a place of one patch; all places are equally likely."""
    x, y = rng.integers(0, size_px - side + 1, size=2).tolist()
    return x, y


def place_two(size_px: int, side: int, rng: np.random.Generator) -> tuple[Place, Place]:
    """Return places of two patches that do not overlap; all such pairs are equally likely."""
    while True:
        apart = _apart(size_px, side, rng)
        free = (int(rng.integers(0, size_px - side + 1)), int(rng.integers(0, size_px - side + 1)))
        along_x = bool(rng.integers(2))
        # Pairs that lie apart along both axes are drawn twice as often as the others: every second is kept.
        if abs(free[0] - free[1]) < side or rng.integers(2):
            xs, ys = (apart, free) if along_x else (free, apart)
            return (xs[0], ys[0]), (xs[1], ys[1])


def _apart(size_px: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return two coordinates from 0 to size_px - side that differ by `side` or more, all equally likely."""
    low, high = sorted(rng.choice(size_px - 2 * side + 2, size=2, replace=False).tolist())
    pair = (low, high + side - 1)
    return pair if rng.integers(2) else pair[::-1]
