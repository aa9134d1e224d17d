"""The luminance histogram of an image, and how far it is from another one's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.images.differences import wasserstein_1
from stimgen.images.pixels import luminance

LEVELS = 256
"""Grey levels of an 8-bit file."""


def entropy(image: NDArray[np.floating]) -> float:
    """Return the Shannon entropy of an image's luminance histogram.

    With p_i the share of the pixels in bin i of 256, H = −Σ p_i log₂ p_i over the bins that are not empty.
    The bin of a pixel is 255 · luminance, rounded to the nearest integer. In a grey 8-bit image that is the
    pixel value itself. In a colour image the luminance of a pixel (`luminance`) lies between the levels and
    is rounded; the three channels are not binned by themselves.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3), values 0..1.

    Returns
    -------
    float
        Bits per pixel, 0 (constant) to 8 (all levels equally often).

    Raises
    ------
    ValueError
        If a luminance is not finite or outside 0..1, or the image has another shape or no pixels.

    References
    ----------
    Shannon, C. E. (1948). A mathematical theory of communication. Bell System Technical Journal 27, 379–423.

    Examples
    --------
    >>> entropy(np.array([[0.0, 1.0], [0.5, 0.5]]))
    1.5
    """
    levels = np.rint(luminance(image) * (LEVELS - 1))
    if not levels.size or not np.isfinite(levels).all() or levels.min() < 0 or levels.max() >= LEVELS:
        raise ValueError("entropy needs pixels, all of them from 0 to 1")
    counts = np.bincount(levels.astype(np.intp).ravel(), minlength=LEVELS)
    shares = counts[counts > 0] / levels.size
    return float(np.sum(shares * np.log2(1 / shares)))


def sorted_luminance(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance values of an image in ascending order, shape (H · W,).

    Parameters
    ----------
    image
        (H, W) or (H, W, 3), values 0..1.

    Raises
    ------
    ValueError
        If a value is not finite, or the image has another shape or no pixels.
    """
    values = np.sort(luminance(image), axis=None)
    if not values.size or not np.isfinite(values).all():
        raise ValueError("a histogram needs pixels, all of them finite")
    return values


def histogram_w1(values: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return the Wasserstein-1 distance between the luminance values of two images.

    It is the area between the two cumulative histograms, and for equal numbers of pixels the mean of
    |x_(k) − s_(k)| over the sorted values (Vallender 1974): how far a pixel's luminance must move, on
    average, to turn one histogram into the other. Nothing is binned.

    Parameters
    ----------
    values, targets
        `sorted_luminance` of two images with the same number of pixels.

    Returns
    -------
    float
        0 (the same histogram) to 1 (a black and a white image), in units of luminance.

    Raises
    ------
    ValueError
        If the numbers of pixels differ.

    References
    ----------
    Vallender, S. S. (1974). Calculation of the Wasserstein distance between probability distributions on the
    line. Theory of Probability and its Applications 18, 784–786.

    Examples
    --------
    >>> images = np.array([[0.0, 0.5]]), np.array([[1.0, 0.0]])
    >>> histogram_w1(*(sorted_luminance(image) for image in images))
    0.25
    """
    if values.size != targets.size:
        raise ValueError(f"images of {values.size} and {targets.size} pixels cannot be compared")
    return wasserstein_1(values, targets)
