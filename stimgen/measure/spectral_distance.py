"""How far the spectrum of an image is from its source's."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.images.pixels import relative_error
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum


def amplitude_error(spectrum: PowerSpectrum, source: PowerSpectrum) -> float | None:
    """Return the relative error of the two-dimensional amplitude spectrum.

    √(Σ (|X| − |S|)² / Σ |S|²) over all frequencies but zero, X of the image and S of the source, which have
    one shape. 0 is for equal amplitudes, 1 for a constant image; None if the source is constant.
    """
    # Power that stands for a frequency and its conjugate gives √2 times the amplitude of each: both count.
    difference = np.sqrt(spectrum.power) - np.sqrt(source.power)
    return relative_error(float(np.sum(difference**2)), float(source.power.sum()))


def radial_error_db(spectrum: PowerSpectrum, source: PowerSpectrum) -> float | None:
    """Return the RMS difference of two rotationally averaged power spectra, in decibels.

    √(1/K · Σ (10 log₁₀ P(k) − 10 log₁₀ S(k))²) over all whole numbers k = 1 … K = min(H, W) // 2 of cycles
    per image; P and S are `radial` of the image and of the source, which have one shape. None if one of them
    has no power at one of the frequencies.
    """
    if not (spectrum.radial.all() and source.radial.all()):
        return None
    difference = 10 * (np.log10(spectrum.radial) - np.log10(source.radial))
    return float(np.sqrt(np.mean(difference**2)))


@register_statistic(
    "spectral_distance",
    order=40,
    prepare=lambda source: source.spectrum if source.inside is None else None,
    columns=(
        Column(
            "amplitude_error",
            "Amplitude error",
            "sqrt(sum (|X| - |S|)^2 / sum |S|^2) over all frequencies but zero, of the transforms X of the "
            "file and S of the source; empty for a constant source and one with a mask.",
        ),
        Column(
            "radial_error_db",
            "Radial spectrum error",
            "Root mean square, over the frequencies in spectra.csv, of the difference in decibels between "
            "power and power_source; empty if any of them is 0, and for a source with a mask.",
            "dB",
        ),
    ),
)
def spectral_distance_columns(image: DecodedImage, source: PowerSpectrum | None) -> Values:
    """Return `amplitude_error` and `radial_error_db`; None for images of another shape than the source."""
    if source is None or source.shape != image.spectrum.shape:
        return dict.fromkeys(("amplitude_error", "radial_error_db"))
    return {error.__name__: error(image.spectrum, source) for error in (amplitude_error, radial_error_db)}
