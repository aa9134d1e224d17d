"""Which orientation the structure of an image has, and how much of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

NYQUIST = 0.5
"""Highest frequency that a row or a column of pixels can hold, in cycles per pixel."""

LOW_CPI = 2.0
"""Lowest frequency with an orientation; below, the window blurs all orientations into each other."""

LEAST_POWER = 1e-4
"""Share of the variance below which structure does not count beside a ramp; rounding to 8 bits makes less."""


def oriented_energy(image: DecodedImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return orientations in degrees, 0..180, and how much energy of the luminance gradient each has.

    The energy at a frequency is its power in the windowed spectrum (`stimgen.measure.spectrum`) times the
    square of the frequency. The factor makes natural images flat, so that all their frequencies count the
    same; with power alone, a few low ones would decide. Frequencies count from 2 cycles per image to the
    Nyquist frequency, 1/2 cycle per pixel: beyond, in the corners of the spectrum, there is no horizontal and
    no vertical structure. Where they have less than 1/10,000 of the variance, as in a ramp, the mean gradient
    of the image counts instead.

    Orientation is that of bars and edges, anticlockwise from horizontal as the image is seen: bars from
    bottom left to top right are at 45°. The wave vector and the gradient are perpendicular to it.
    """
    spectrum = image.windowed_spectrum
    height, width = spectrum.shape
    radius = spectrum.radius
    counted = (radius * min(height, width) >= LOW_CPI) & (radius <= NYQUIST)
    power = spectrum.power[counted]
    if power.sum() > LEAST_POWER * image.luminance.var():
        down, right = np.broadcast_arrays(spectrum.rows / height, spectrum.columns / width)
        down, right, energy = down[counted], right[counted], power * radius[counted] ** 2
    else:
        first, last = image.luminance[:, [0, -1]].mean(axis=0)
        top, bottom = image.luminance[[0, -1]].mean(axis=1)
        down, right = np.array([bottom - top]) / height, np.array([last - first]) / width
        energy = down**2 + right**2
    return (np.degrees(np.arctan2(-down, right)) + 90) % 180, energy


def preferred_orientation(image: DecodedImage) -> tuple[float | None, float | None]:
    """Return the preferred orientation in degrees, and the circular variance.

    With Z = Σ E exp(2iθ) over the orientations θ and energies E of `oriented_energy`, the preferred
    orientation is arg(Z) / 2, and the circular variance 1 − |Z| / Σ E (Ringach, Shapley & Hawken 2002): 0
    where all structure has one orientation, 1 where none is preferred. Both are None for a constant image.
    """
    orientation, energy = oriented_energy(image)
    total = float(energy.sum())
    if not total:
        return None, None
    resultant = complex(np.sum(energy * np.exp(2j * np.radians(orientation)))) / total
    return float(np.degrees(np.angle(resultant)) / 2 % 180), 1 - abs(resultant)


@register_statistic(
    "orientation",
    order=51,
    columns=(
        Column(
            "preferred_orientation",
            "Preferred orientation",
            "Half the angle of Z = sum E exp(2i theta) over frequencies, theta the orientation of bars and "
            "edges, anticlockwise from horizontal, and E the energy that orientation_0 is a share of; 0 to "
            "180. Empty for a constant image.",
            "deg",
            "Ringach, Shapley & Hawken (2002), J. Neurosci. 22:5639",
        ),
        Column(
            "orientation_variance",
            "Circular variance of orientation",
            "1 - |Z| / sum E, Z and E as for preferred_orientation: 0 where all structure has one "
            "orientation, 1 where none is preferred. Empty for a constant image.",
            origin="Ringach, Shapley & Hawken (2002), J. Neurosci. 22:5639",
        ),
    ),
)
def orientation_columns(image: DecodedImage) -> Values:
    """Return `preferred_orientation`."""
    orientation, variance = preferred_orientation(image)
    return {"preferred_orientation": orientation, "orientation_variance": variance}
