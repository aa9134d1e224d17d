"""The colours of an image: channels, how they go together, and their contrast along cardinal directions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

CHANNELS = ("red", "green", "blue")

CIELAB = {"l": "lightness L*", "a": "green to red, a*", "b": "blue to yellow, b*"}

# Columns are the primaries R, G and B, rows X, Y and Z; white (1, 1, 1) is D65.
XYZ_OF_RGB = np.array(
    [
        [0.4123907993, 0.3575843394, 0.1804807884],
        [0.2126390059, 0.7151686788, 0.0721923154],
        [0.0193308187, 0.1191947798, 0.9505321522],
    ]
)
"""CIE 1931 tristimulus values of the primaries of ITU-R BT.709-6 with white D65, item 1.3 and 1.4."""


def cielab(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return L*, a* and b*, shape (3, n), of the values R, G and B of n pixels, shape (3, n).

    R, G and B are proportional to light, as for `stimgen.images.pixels.luminance`, and 1 is the display's
    white. With X/Xₙ, Y/Yₙ and Z/Zₙ the tristimulus values relative to those of white, and f(t) = t^(1/3) for
    t > (6/29)³, else t · 841/108 + 4/29 (ISO/CIE 11664-4:2019):

        L* = 116 f(Y/Yₙ) − 16,  a* = 500 (f(X/Xₙ) − f(Y/Yₙ)),  b* = 200 (f(Y/Yₙ) − f(Z/Zₙ))
    """
    relative = (XYZ_OF_RGB / XYZ_OF_RGB.sum(axis=1, keepdims=True)) @ planes
    x, y, z = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (841 / 108) + 4 / 29)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@register_statistic(
    "colour",
    order=15,
    any_place=True,
    columns=(
        *(
            Column(
                f"{channel}_mean",
                f"Mean of {channel}",
                f"Mean of the {channel} channel over pixels; empty for grey images.",
                "fraction of white",
            )
            for channel in CHANNELS
        ),
        *(
            Column(
                f"{channel}_sd",
                f"SD of {channel}",
                f"Standard deviation of the {channel} channel (divisor n); empty for grey images.",
                "fraction of white",
            )
            for channel in CHANNELS
        ),
        *(
            Column(
                f"{first}_{second}_correlation",
                f"Correlation of {first} and {second}",
                f"Pearson correlation of the {first} and {second} channels over pixels. Empty for grey "
                "images, and where a channel is constant.",
            )
            for first, second in combinations(CHANNELS, 2)
        ),
        *(
            Column(
                f"cielab_{axis}_sd",
                f"Contrast along {meaning}",
                f"Standard deviation over pixels of CIELAB's {meaning}, with pixel values proportional to "
                "light and the primaries and white of ITU-R BT.709. Empty for grey images.",
                origin="ISO/CIE 11664-4:2019",
            )
            for axis, meaning in CIELAB.items()
        ),
    ),
)
def colour_columns(image: DecodedImage) -> Values:
    """Return means, SDs and correlations of R, G and B, and the SDs of L*, a* and b* (`cielab`)."""
    pairs = list(combinations(range(3), 2))
    names = [
        *(f"{channel}_mean" for channel in CHANNELS),
        *(f"{channel}_sd" for channel in CHANNELS),
        *(f"{CHANNELS[first]}_{CHANNELS[second]}_correlation" for first, second in pairs),
        *(f"cielab_{axis}_sd" for axis in CIELAB),
    ]
    if image.pixels.ndim == 2:
        return dict.fromkeys(names)
    planes = np.ascontiguousarray(image.pixels.reshape(-1, 3).T, dtype=np.float64)
    sds = _standard_deviations(planes)
    covariance = np.cov(planes, bias=True)
    correlations = [
        covariance[first, second] / (sds[first] * sds[second]) if sds[first] and sds[second] else None
        for first, second in pairs
    ]
    found = (*planes.mean(axis=1), *sds, *correlations, *_standard_deviations(cielab(planes)))
    return {name: None if value is None else float(value) for name, value in zip(names, found, strict=True)}


def _standard_deviations(planes: NDArray[np.float64]) -> list[float]:
    """Return the standard deviation of each plane; exactly 0 for equal values, whatever rounding says."""
    return [float(plane.std()) if np.ptp(plane) > 0 else 0.0 for plane in planes]
