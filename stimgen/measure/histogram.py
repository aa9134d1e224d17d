"""The luminance histogram of an image, and how far it is from its source's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.images.pixels import wasserstein_1
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

LEVELS = 256
"""Bins of the entropy: the grey levels of an 8-bit file, whatever the bits of the file."""


@register_statistic(
    "entropy",
    order=20,
    any_place=True,
    columns=(
        Column(
            "entropy",
            "Entropy",
            "-sum p log2 p of the histogram of luminance, rounded to the 256 levels of an 8-bit file "
            "(also of 16-bit files, so that both can be compared).",
            "bit",
            "Shannon (1948), Bell Syst. Tech. J. 27:379",
        ),
    ),
)
def entropy(image: DecodedImage) -> Values:
    """Return the Shannon entropy of an image's luminance histogram, in bits per pixel.

    With p_i the share of the pixels in bin i of 256, H = −Σ p_i log₂ p_i over the bins that are not empty.
    The bin of a pixel is 255 · luminance, rounded to the nearest integer: in a grey 8-bit image the pixel
    value itself. 0 is for a constant image, 8 for all levels equally often.

    Examples
    --------
    >>> entropy(DecodedImage(np.array([[0.0, 1.0], [0.5, 0.5]])))
    {'entropy': 1.5}
    """
    levels = np.rint(image.luminance * (LEVELS - 1))
    if levels.min() < 0 or levels.max() >= LEVELS:
        raise ValueError("entropy needs pixels from 0 to 1")
    counts = np.bincount(levels.astype(np.intp).ravel(), minlength=LEVELS)
    shares = counts[counts > 0] / levels.size
    return {"entropy": float(np.sum(shares * np.log2(1 / shares)))}


@register_statistic(
    "histogram_w1",
    order=21,
    any_place=True,
    prepare=lambda source: (
        source.luminance.shape if source.inside is None else None,
        source.counted.sorted_luminance,
    ),
    columns=(
        Column(
            "histogram_w1",
            "Histogram distance",
            "Wasserstein-1 distance between the luminance values of the file and of the source: the mean of "
            "the differences between the sorted values, without sign. With a mask, the area between the "
            "distribution functions.",
            "fraction of white",
            "Vallender (1974), Theory Probab. Appl. 18:784",
        ),
    ),
)
def histogram_w1(
    image: DecodedImage, source: tuple[tuple[int, ...] | None, NDArray[np.float64]] | None
) -> Values:
    """Return the Wasserstein-1 distance between the luminance values of an image and of its source.

    It is the mean of |x_(k) − s_(k)| over the sorted values (Vallender 1974): how far a pixel's luminance
    must move, on average, to turn one histogram into the other. 0 is for the same histogram, 1 for a black
    and a white image; None if the images have different shapes. `source` is the shape, None for a source with
    a mask, and the sorted luminance of the source. With other numbers of pixels, as inside a mask, it is the
    area between the distribution functions, which is the same for equal numbers.

    Examples
    --------
    >>> image, source = (DecodedImage(np.array([values])) for values in ([0.0, 0.5], [1.0, 0.0]))
    >>> histogram_w1(image, ((1, 2), source.sorted_luminance))
    {'histogram_w1': 0.25}
    """
    if source is None or source[0] not in (None, image.luminance.shape):
        return {"histogram_w1": None}
    values, goal = image.sorted_luminance, source[1]
    if len(values) == len(goal):
        return {"histogram_w1": wasserstein_1(values, goal)}
    from scipy.stats import wasserstein_distance

    return {"histogram_w1": float(wasserstein_distance(values, goal))}
