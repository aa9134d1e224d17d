"""Whether a part of an image is a copy of a part of its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.images.masks import Inside
from stimgen.images.pixels import luminance
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

LEWIS = "Lewis (1995), Vision Interface 95:120"

CROPS_PX = (32, 64, 128)
"""Sides of the parts that are looked for."""

NO_CONTRAST = 1e-10
"""Squared deviations of a part, relative to the sum of squares of the image, that count as rounding.
One level of 8 bits in one of 256 x 256 pixels is above it."""

COPIED = 0.9
"""Share of the way from the baseline to 1 beyond which a part is a copy; see `copied`."""
LARGEST_BASELINE = 0.99
"""Highest baseline with which a copy can be told from a part that is merely regular."""


class SourceWindows:
    """All square windows of a source, (H, W) or (H, W, 3), with sides of so many px.

    `transform` is that of the luminance without its mean, padded with zeros to the size `padded`. `norms`
    has, for each side k that fits, the root of the sum of squared deviations from the mean of the window at
    each upper left corner, shape (H − k + 1, W − k + 1), 0 for windows without contrast. `baseline` is
    `copying` of the source itself, each tile compared with the windows that have no pixel in common with it.
    With a mask, `inside`, only windows whose pixels are all inside have contrast.
    """

    def __init__(
        self,
        image: NDArray[np.floating],
        sides: Sequence[int] = CROPS_PX,
        inside: Inside | None = None,
    ) -> None:
        from scipy import fft

        plane = luminance(image)
        floor = NO_CONTRAST * float(np.sum(plane**2))
        # Correlations do not change with the mean, and rounding errors grow with it.
        values = plane - plane.mean()
        self.norms: dict[int, NDArray[np.float64]] = {}
        for side in sides:
            if side <= min(values.shape):
                squares = window_sums(values**2, side) - window_sums(values, side) ** 2 / side**2
                self.norms[side] = np.sqrt(np.where(squares > floor, squares, 0))
                if inside is not None:
                    self.norms[side][window_sums(inside.astype(np.float64), side) < side**2] = 0
        self.padded = tuple(fft.next_fast_len(length, real=True) for length in values.shape)
        self.transform = fft.rfft2(values, self.padded, workers=-1)
        self.baseline = {side: _highest(values, floor, self, side, disjoint=True) for side in sides}


def copying(image: NDArray[np.floating], source: SourceWindows) -> dict[int, float | None]:
    """Return how much the most similar parts of an image and of its source are alike.

    The luminance of the image, (H, W) or (H, W, 3), is divided into tiles of k × k px that do not overlap;
    where k does not divide a side, the grid of whole tiles is in the middle. For each tile x and each window
    s of k × k px of the source, at any whole pixel, the zero-mean normalised cross-correlation is Pearson's

        r = Σ (x − mean x) (s − mean s) / √(Σ (x − mean x)² · Σ (s − mean s)²)

    and the value of k is the highest |r| of all tiles and windows; 1 is a copy, also one with black and white
    exchanged. It is None if there is no whole tile or window with contrast. Numerators are computed as
    products of Fourier transforms, denominators from local sums (Lewis 1995, Fast template matching, Vision
    Interface 95, 120–123).
    """
    plane = luminance(image)
    floor = NO_CONTRAST * float(np.sum(plane**2))
    return {side: _highest(plane, floor, source, side) for side in source.baseline}


def copied(similarities: Iterable[tuple[float | None, float | None]]) -> bool | None:
    """Return whether a part is so much like the source that it is a copy.

    True if for some k, with r the value of `copying` and b the baseline of the source,

        (r − b) / (1 − b) > 0.9    and    b ≤ 0.99

    None if no k has such a baseline. `similarities` are the pairs (r, b), with None for what is not defined.
    How 0.9 was chosen is in ``docs/method.md``.

    Examples
    --------
    >>> copied([(0.95, 0.92), (0.97, 0.5), (None, None)]), copied([(1.0, 0.999)])
    (True, None)
    """
    telling = [(r, b) for r, b in similarities if r is not None and b is not None and b <= LARGEST_BASELINE]
    return any(r - b > COPIED * (1 - b) for r, b in telling) if telling else None


def window_sums(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the sums over all windows of side × side px, shape (H − side + 1, W − side + 1).

    They are sums of sums of smaller windows: running totals would have the rounding error of the whole image.
    """
    return _column_sums(_column_sums(values, side).T, side).T


def _column_sums(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if count == 1:
        return values
    length, half = len(values) - count + 1, count // 2
    halves = _column_sums(values, half)
    sums: NDArray[np.float64] = halves[:length] + halves[half : half + length]
    return sums + values[count - 1 :] if count % 2 else sums


def _highest(
    plane: NDArray[np.float64], floor: float, source: SourceWindows, side: int, *, disjoint: bool = False
) -> float | None:
    """Return the highest absolute correlation of the tiles of an image with the windows of a source."""
    from scipy import fft

    norms = source.norms.get(side)
    if norms is None or not norms.any():
        return None
    rows, columns = norms.shape
    # Of small images, threads cost more than they save.
    workers = -1 if plane.size > 2**18 else 1
    reciprocals = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    constant = None if norms.all() else norms == 0
    highest = -np.inf
    tops, lefts = (range(length % side // 2, length - side + 1, side) for length in plane.shape)
    for top, left in product(tops, lefts):
        tile = plane[top : top + side, left : left + side]
        deviations = tile - tile.mean()
        squares = float(np.sum(deviations**2))
        if squares <= floor or (disjoint and norms[top, left] == 0):
            continue
        transform = fft.rfft2(deviations / np.sqrt(squares), source.padded, workers=workers)
        np.conjugate(transform, out=transform)
        transform *= source.transform
        # Circular correlation; at places where the window is inside the source nothing has gone round.
        correlations = fft.irfft2(transform, source.padded, overwrite_x=True, workers=workers)[
            :rows, :columns
        ]
        correlations *= reciprocals
        np.abs(correlations, out=correlations)
        if constant is not None:
            correlations[constant] = -np.inf
        if disjoint:
            correlations[max(top - side + 1, 0) : top + side, max(left - side + 1, 0) : left + side] = -np.inf
        highest = max(highest, float(correlations.max()))
    # Rounding can take a copy beyond 1.
    return None if highest == -np.inf else min(highest, 1.0)


@register_statistic(
    "copying",
    order=60,
    version=2,
    prepare=lambda source: SourceWindows(source.luminance, inside=source.inside),
    option="copying",
    columns=(
        *(
            Column(
                f"copying_{side}",
                f"Similarity of {side} px parts",
                f"Highest absolute Pearson correlation of a tile of {side} x {side} px of the file with any "
                "window of that size in the source, of luminance; 1 for a copy, also one with black and "
                "white exchanged. Empty where there is no tile or window with contrast. With a mask, of "
                "windows inside it.",
                "",
                LEWIS,
            )
            for side in CROPS_PX
        ),
        *(
            Column(
                f"copying_baseline_{side}",
                f"Baseline of {side} px parts",
                "The same of tiles of the source itself, with windows that do not overlap the tile: what "
                f"copying_{side} is to be compared with. Empty where there is none.",
                "",
                LEWIS,
            )
            for side in CROPS_PX
        ),
        Column(
            "copied",
            "Copied",
            "Whether a part is a copy: (r - b) / (1 - b) > 0.9 with r = copying_K and b = "
            "copying_baseline_K of a size K whose b is at most 0.99; sizes with a higher b do not count. "
            "Empty where no size is left, because the source is too regular or too small to tell.",
        ),
    ),
)
def copying_columns(image: DecodedImage, source: SourceWindows | None) -> Values:
    """Return `copying` and the baseline for each size of parts, and `copied`."""
    if source is None:
        return {"copied": None}
    found, baseline = copying(image.luminance, source), source.baseline
    return {
        **{f"copying_{side}": similarity for side, similarity in found.items()},
        **{f"copying_baseline_{side}": baseline[side] for side in found},
        "copied": copied((found[side], baseline[side]) for side in found),
    }
