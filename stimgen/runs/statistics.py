"""The statistics of a stimulus that need no network, as its record holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image, luminance
from stimgen.measure.histogram import entropy, histogram_w1
from stimgen.measure.luminance import luminance_statistics
from stimgen.measure.slope import spectral_slope
from stimgen.measure.spectral_distance import amplitude_error, radial_error_db
from stimgen.measure.spectral_share import high_frequency_share, orientation_shares
from stimgen.measure.spectrum import PowerSpectrum, power_spectrum
from stimgen.runs.record import LuminanceRecord, SlopeRecord, SpectrumRecord

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


def measure(seen: Image, source: Image, source_spectrum: PowerSpectrum) -> Statistics:
    """Measure a stimulus against its source.

    Parameters
    ----------
    seen
        The file as read back, (H, W) or (H, W, 3), values 0..1.
    source
        Pixels of the source, of the same shape.
    source_spectrum
        Its spectrum, which is the same for all its stimuli.
    """
    plane = luminance(seen)
    spectrum = power_spectrum(plane)
    shares = orientation_shares(spectrum)
    return Statistics(
        LuminanceRecord(
            **asdict(luminance_statistics(plane)),
            entropy=entropy(plane),
            histogram_w1=histogram_w1(plane, source),
        ),
        SlopeRecord(**asdict(spectral_slope(spectrum, SLOPE_LOW_CPI, min(plane.shape) / 4))),
        SpectrumRecord(
            amplitude_error=amplitude_error(spectrum, source_spectrum),
            radial_error_db=radial_error_db(spectrum, source_spectrum),
            orientation_0=shares[0],
            orientation_45=shares[45],
            orientation_90=shares[90],
            orientation_135=shares[135],
            high_frequency_share=high_frequency_share(spectrum),
            power=_rounded(spectrum.radial),
            power_source=_rounded(source_spectrum.radial),
        ),
    )


def _rounded(power: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{POWER_DIGITS}g}") for value in power)
