"""Histogram, mean and contrast of a plane, and planes that are given others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image

# Relative to the image's largest value; below it is the rounding of the mean.
NO_CONTRAST = 1e-12


def match_histogram_exact(
    image: NDArray[np.floating], reference: NDArray[np.floating], rng: np.random.Generator
) -> Image:
    """Return the image with exactly the histogram of the reference.

    The pixels are put in a strict order, and the k-th pixel gets the k-th smallest value of the reference.
    Pixels are ordered by their value; equal ones by the mean of their 3 × 3 neighbourhood (mirrored at the
    border), so that a plateau keeps the slope it lies in; those equal again at random.

    The reference has as many channels and pixels. Each channel is matched by itself. One permutation of H · W
    is drawn per channel, whether there are ties or not. Of the nested neighbourhoods of Coltuc, Bolon &
    Chassery (2006, IEEE Trans. Image Processing 15, 1143–1152), the order uses the pixel itself and 3 × 3.
    """
    if image.ndim == 2:
        return _match_plane(image, reference, rng)
    planes = [_match_plane(image[..., c], reference[..., c], rng) for c in range(image.shape[2])]
    return np.stack(planes, axis=2)


def _match_plane(
    plane: NDArray[np.floating], reference: NDArray[np.floating], rng: np.random.Generator
) -> Image:
    order = np.argsort(plane, axis=None, kind="stable")
    by_chance = rng.permutation(plane.size)
    ordered = plane.ravel()[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.lexsort((by_chance, _local_mean(plane).ravel(), plane.ravel()))
    values = np.sort(reference, axis=None).astype(np.float32)
    matched = np.empty(plane.size, dtype=np.float32)
    matched[order] = values
    return matched.reshape(plane.shape)


def _local_mean(plane: NDArray[np.floating]) -> NDArray[np.float32]:
    padded = np.pad(plane.astype(np.float64), 1, mode="symmetric")
    height, width = plane.shape
    total = sum(padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3))
    # In float32, neighbourhoods that hold the same values in another arrangement are equal.
    return (np.asarray(total) / 9).astype(np.float32)


def mean_and_sd(plane: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean over the pixels and the standard deviation (divisor n), in float64.

    Standard deviations below 10⁻¹² of the largest value are rounding, and are returned as 0.
    """
    values = plane.astype(np.float64)
    mean, sd = float(values.mean()), float(values.std())
    return mean, 0.0 if sd <= NO_CONTRAST * float(np.abs(values).max()) else sd


def match_luminance(plane: NDArray[np.floating], mean: float, sd: float) -> NDArray[np.float64]:
    """Return the plane with another mean and standard deviation, and so another RMS contrast, SD / mean.

    x' = (x − m) · SD₀ / SD + mean₀, with m and SD of the plane. Values may leave 0..1. A constant plane
    raises StimgenError, unless SD₀ is 0.
    """
    own_mean, own_sd = mean_and_sd(plane)
    if own_sd == 0:
        if sd > 0:
            raise StimgenError(
                "A constant image, or channel of one, has no contrast, and no factor gives it another's.",
                "In colour try channels: luminance; or leave out the matching of luminance, or this source "
                "or condition.",
            )
        return np.full(plane.shape, mean, dtype=np.float64)
    return (plane.astype(np.float64) - own_mean) * (sd / own_sd) + mean
