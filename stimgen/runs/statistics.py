"""The statistics of a stimulus that need no network, as its record holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image, luminance
from stimgen.measure.copying import SourceWindows, copying, source_windows
from stimgen.measure.histogram import entropy, histogram_w1, sorted_luminance
from stimgen.measure.luminance import luminance_statistics
from stimgen.measure.slope import spectral_slope
from stimgen.measure.spectral_distance import amplitude_error, radial_error_db
from stimgen.measure.spectral_share import high_frequency_share, orientation_shares
from stimgen.measure.spectrum import PowerSpectrum, power_spectrum
from stimgen.runs.record import CopyingRecord, LuminanceRecord, SlopeRecord, SpectrumRecord

SLOPE_LOW_CPI = 2.0
"""Lowest frequency of the fit of the spectral slope; the highest is half the Nyquist frequency."""

POWER_DIGITS = 6
"""Significant digits of the power in a record: a file of 2048 px has two thousand numbers of it."""


@dataclass(frozen=True)
class Statistics:
    """Parts of a record that are measured on the pixels of the file."""

    luminance: LuminanceRecord
    slope: SlopeRecord
    spectrum: SpectrumRecord
    copying: tuple[CopyingRecord, ...]


@dataclass(frozen=True, eq=False)
class SourceStatistics:
    """What stimuli are compared with, the same for all stimuli of a source.

    Attributes
    ----------
    spectrum
        Of its luminance.
    sorted_luminance
        Its luminance values in ascending order, shape (H · W,).
    windows
        Its parts, of which a stimulus may have copies; None if that is not measured.
    """

    spectrum: PowerSpectrum
    sorted_luminance: NDArray[np.float64]
    windows: SourceWindows | None


def source_statistics(source: Image, *, copying: bool = True) -> SourceStatistics:
    """Measure a source, (H, W) or (H, W, 3), for the copying check if `copying` says so."""
    plane = luminance(source)
    windows = source_windows(plane) if copying else None
    return SourceStatistics(power_spectrum(plane), sorted_luminance(plane), windows)


def measure(seen: Image, source: SourceStatistics | None) -> Statistics:
    """Measure an image, against a source if there is one.

    Parameters
    ----------
    seen
        The file as read back, (H, W) or (H, W, 3), values 0..1.
    source
        Statistics of its source. What compares pixel by pixel or frequency by frequency is None if it has
        another shape than the image; all that compares is None without a source.
    """
    plane = luminance(seen)
    spectrum = power_spectrum(plane)
    shares = orientation_shares(spectrum)
    alike = source if source and source.spectrum.shape == spectrum.shape else None
    return Statistics(
        LuminanceRecord(
            **asdict(luminance_statistics(plane)),
            entropy=entropy(plane),
            histogram_w1=histogram_w1(sorted_luminance(plane), alike.sorted_luminance) if alike else None,
        ),
        SlopeRecord(**asdict(spectral_slope(spectrum, SLOPE_LOW_CPI, min(plane.shape) / 4))),
        SpectrumRecord(
            amplitude_error=amplitude_error(spectrum, alike.spectrum) if alike else None,
            radial_error_db=radial_error_db(spectrum, alike.spectrum) if alike else None,
            orientation_0=shares[0],
            orientation_45=shares[45],
            orientation_90=shares[90],
            orientation_135=shares[135],
            high_frequency_share=high_frequency_share(spectrum),
            power=_rounded(spectrum.radial),
            power_source=_rounded(source.spectrum.radial) if source else (),
        ),
        tuple(
            CopyingRecord(crop_px=side, similarity=similarity, baseline=source.windows.baseline[side])
            for side, similarity in copying(plane, source.windows).items()
        )
        if source and source.windows
        else (),
    )


def _rounded(power: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{POWER_DIGITS}g}") for value in power)
