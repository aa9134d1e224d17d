"""How the power of an image is shared among orientations, and between low and high frequencies."""

from __future__ import annotations

import math

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum

ORIENTATIONS = (0, 45, 90, 135)
"""Centres of the orientation bands, in degrees."""

NYQUIST = 0.5
"""Highest frequency that a row or a column of pixels can hold, in cycles per pixel."""


def orientation_shares(spectrum: PowerSpectrum) -> dict[int, float | None]:
    """Return the shares of an image's power in four bands of orientation, each 45° wide.

    Orientation is that of the structure in the image, of bars and edges, in degrees anticlockwise from
    horizontal as the image is seen: horizontal bars are at 0°, bars from bottom left to top right at 45°,
    vertical ones at 90°. The wave vector is perpendicular to it.

    All frequencies count but zero and those beyond the Nyquist frequency, 1/2 cycle per pixel: these are in
    the corners of the spectrum, where there is no horizontal and no vertical structure. White noise has a
    quarter in each band. No frequency lies on a border between two bands, because the tangent of 22.5° is
    irrational.

    Returns
    -------
    dict of int to float or None
        From the centres of the bands, 0, 45, 90 and 135, to shares with a sum of 1; all None if there is no
        power within the Nyquist frequency (a constant image).
    """
    height, width = spectrum.shape
    downwards, rightwards = np.abs(spectrum.rows) * width, spectrum.columns * height
    tangent = math.sqrt(2) - 1  # of 22.5°
    horizontal = rightwards < tangent * downwards
    vertical = downwards < tangent * rightwards
    diagonal = ~(horizontal | vertical)
    # Columns count to the right and rows down: a wave that runs right and down has bars at 45°.
    bands = (horizontal, diagonal & (spectrum.rows > 0), vertical, diagonal & (spectrum.rows < 0))
    power = np.where(spectrum.radius <= NYQUIST, spectrum.power, 0)
    energies = [float(power[band].sum()) for band in bands]
    total = math.fsum(energies)
    return {
        orientation: energy / total if total else None
        for orientation, energy in zip(ORIENTATIONS, energies, strict=True)
    }


def high_frequency_share(spectrum: PowerSpectrum) -> float | None:
    """Return the share of an image's power, without frequency zero, above half the Nyquist frequency.

    Above is a radius of more than 1/4 cycle per pixel; the corners of the spectrum count. White noise has
    about 1 − π/16 = 0.80, and a constant image None.
    """
    above = spectrum.radius > NYQUIST / 2
    high, low = float(spectrum.power[above].sum()), float(spectrum.power[~above].sum())
    return high / (high + low) if high + low else None


@register_statistic(
    "spectral_share",
    order=50,
    columns=(
        *(
            Column(
                f"orientation_{centre}",
                f"Power share at {centre} deg",
                f"Share of the power of structure oriented within 22.5 degrees of {centre} ({bars}), "
                "anticlockwise from horizontal; of the frequencies within a radius of 1/2 cycle per pixel, "
                "without zero. Empty for a constant image.",
            )
            for centre, bars in zip(
                ORIENTATIONS,
                (
                    "horizontal bars",
                    "bars that rise to the right",
                    "vertical bars",
                    "bars that fall to the right",
                ),
                strict=True,
            )
        ),
        Column(
            "high_frequency_share",
            "High-frequency share",
            "Share of the power, without frequency zero, above half the Nyquist frequency (1/4 cycle per "
            "pixel); empty for a constant image.",
        ),
    ),
)
def spectral_share_columns(image: DecodedImage) -> Values:
    """Return `orientation_shares` and `high_frequency_share`."""
    shares = orientation_shares(image.spectrum)
    return {
        **{f"orientation_{centre}": share for centre, share in shares.items()},
        "high_frequency_share": high_frequency_share(image.spectrum),
    }
