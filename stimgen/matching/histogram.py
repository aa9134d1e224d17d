"""Exact histogram matching."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image


def match_histogram_exact(
    image: NDArray[np.floating], reference: NDArray[np.floating], rng: np.random.Generator
) -> Image:
    """Return the image with exactly the histogram of the reference.

    The pixels are put in a strict order, and the k-th pixel gets the k-th smallest value of the reference.
    Pixels are ordered by their value; equal ones by the mean of their 3 × 3 neighbourhood (mirrored at the
    border), so that a plateau keeps the slope it lies in; those equal again at random.

    The reference has as many channels and pixels. Each channel is matched by itself. One permutation of H · W
    is drawn per channel, whether there are ties or not.

    References
    ----------
    Coltuc, D., Bolon, P. & Chassery, J.-M. (2006). Exact histogram specification. IEEE Trans. Image
    Processing 15, 1143–1152. Of its nested neighbourhoods, the order here uses the pixel itself and 3 × 3.
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
