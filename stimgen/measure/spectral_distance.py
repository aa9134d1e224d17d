"""How far the spectrum of an image is from its source's."""

from __future__ import annotations

import numpy as np

from stimgen.images.differences import relative_error
from stimgen.measure.spectrum import PowerSpectrum


def amplitude_error(spectrum: PowerSpectrum, source: PowerSpectrum) -> float | None:
    """Return the relative error of the two-dimensional amplitude spectrum.

    √(Σ (|X| − |S|)² / Σ |S|²) over all frequencies but zero, X of the image and S of the source. Phases do
    not count, nor does the mean; the denominator is proportional to the source's variance.

    Parameters
    ----------
    spectrum, source
        Of two images of the same shape.

    Returns
    -------
    float or None
        0 for equal amplitudes, 1 for a constant image, without an upper bound. None if the source is
        constant.

    Raises
    ------
    ValueError
        If the images have different shapes.
    """
    _refuse_other_shape(spectrum, source)
    # Power that stands for a frequency and its conjugate gives √2 times the amplitude of each: both count.
    difference = np.sqrt(spectrum.power) - np.sqrt(source.power)
    return relative_error(float(np.sum(difference**2)), float(source.power.sum()))


def radial_error_db(spectrum: PowerSpectrum, source: PowerSpectrum) -> float | None:
    """Return the RMS difference of two rotationally averaged power spectra, in decibels.

    √(1/K · Σ (10 log₁₀ P(k) − 10 log₁₀ S(k))²) over all whole numbers k = 1 … K = min(H, W) // 2 of cycles
    per image, each with the same weight; P and S are `radial` of the image and of the source. Where all
    power differs by a factor c, it is |10 log₁₀ c|.

    Parameters
    ----------
    spectrum, source
        Of two images of the same shape.

    Returns
    -------
    float or None
        0 for equal averages, without an upper bound. None if one of the images has no power at one of the
        frequencies: decibels are not defined there, and leaving the frequency out would hide that.

    Raises
    ------
    ValueError
        If the images have different shapes.
    """
    _refuse_other_shape(spectrum, source)
    if not (spectrum.radial.all() and source.radial.all()):
        return None
    difference = 10 * (np.log10(spectrum.radial) - np.log10(source.radial))
    return float(np.sqrt(np.mean(difference**2)))


def _refuse_other_shape(spectrum: PowerSpectrum, source: PowerSpectrum) -> None:
    if spectrum.shape != source.shape:
        raise ValueError(f"spectra of images of {spectrum.shape} and {source.shape} cannot be compared")
