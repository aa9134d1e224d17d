"""How the power of an image is shared among orientations, and between low and high frequencies."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.orientation import NYQUIST, oriented_energy
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum

ORIENTATIONS = (0, 45, 90, 135)
"""Centres of the orientation bands, in degrees."""


def orientation_shares(image: DecodedImage) -> dict[int, float | None]:
    """Return the shares of the energy of an image's gradient in four bands of orientation, each 45° wide.

    The energies are those of `stimgen.measure.orientation.oriented_energy`. Noise without a preferred
    orientation has about a quarter in each band. No frequency lies on a border between two bands, because
    the tangent of 22.5° is irrational.

    Returns
    -------
    dict of int to float or None
        From the centres of the bands, 0, 45, 90 and 135, to shares with a sum of 1; all None for a constant
        image.
    """
    orientation, energy = oriented_energy(image)
    band = np.rint(orientation / 45).astype(np.intp) % len(ORIENTATIONS)
    energies, total = np.bincount(band, energy, len(ORIENTATIONS)), float(energy.sum())
    return {
        centre: float(energies[index]) / total if total else None for index, centre in enumerate(ORIENTATIONS)
    }


def high_frequency_share(spectrum: PowerSpectrum) -> float | None:
    """Return the share of a spectrum's power, without frequency zero, above half the Nyquist frequency.

    Above is a radius of more than 1/4 cycle per pixel; the corners of the spectrum count. White noise has
    about 1 − π/16 = 0.80, and a constant image None.
    """
    above = spectrum.radius > NYQUIST / 2
    high, low = float(spectrum.power[above].sum()), float(spectrum.power[~above].sum())
    return high / (high + low) if high + low else None


@register_statistic(
    "spectral_share",
    order=50,
    version=2,
    columns=(
        *(
            Column(
                f"orientation_{centre}",
                f"Energy share at {centre} deg",
                f"Share of structure oriented within 22.5 degrees of {centre} ({bars}), anticlockwise from "
                "horizontal, in the energy of the luminance gradient: the sum of power times squared "
                "frequency, from 2 cycles per image to 1/2 cycle per pixel, of the spectrum behind a "
                "Laplacian and a Hann window. Empty for a constant image.",
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
            "Share of the power above half the Nyquist frequency (1/4 cycle per pixel), without frequency "
            "zero, in the spectrum behind a Laplacian and a Hann window; empty for a constant image.",
        ),
    ),
)
def spectral_share_columns(image: DecodedImage) -> Values:
    """Return `orientation_shares` and `high_frequency_share`."""
    return {
        **{f"orientation_{centre}": share for centre, share in orientation_shares(image).items()},
        "high_frequency_share": high_frequency_share(image.windowed_spectrum),
    }
