"""What was measured on an image, as columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from stimgen.measure.copying import copied
from stimgen.measure.gram_distance import GramDistance, GramScale
from stimgen.measure.portilla_simoncelli import OVERALL
from stimgen.runs.record import CopyingRecord, LuminanceRecord, SlopeRecord, SpectrumRecord

Row = dict[str, Any]


class Measured(Protocol):
    """The statistics of an image that need no network."""

    @property
    def luminance(self) -> LuminanceRecord:
        """Of its pixels."""

    @property
    def slope(self) -> SlopeRecord:
        """Of its spectrum."""

    @property
    def spectrum(self) -> SpectrumRecord:
        """The other statistics of its spectrum."""

    @property
    def copying(self) -> tuple[CopyingRecord, ...]:
        """How much its parts are like the source's."""


def statistic_columns(measured: Measured, side_deg: float | None) -> Row:
    """Return the columns that need no network.

    Parameters
    ----------
    measured
        The statistics.
    side_deg
        Side of the image in degrees of visual angle; None if it is not known.
    """
    luminance, slope = measured.luminance, measured.slope
    return {
        "luminance_mean": luminance.mean,
        "luminance_sd": luminance.sd,
        "rms_contrast": luminance.rms_contrast,
        "luminance_skewness": luminance.skewness,
        "luminance_kurtosis": luminance.kurtosis,
        "luminance_min": luminance.minimum,
        "luminance_max": luminance.maximum,
        "entropy": luminance.entropy,
        "histogram_w1": luminance.histogram_w1,
        "spectral_slope": slope.alpha,
        "spectral_slope_r2": slope.r_squared,
        "spectral_slope_low_cpi": slope.low_cpi,
        "spectral_slope_high_cpi": slope.high_cpi,
        "spectral_slope_low_cpd": slope.low_cpi / side_deg if side_deg else None,
        "spectral_slope_high_cpd": slope.high_cpi / side_deg if side_deg else None,
        **measured.spectrum.model_dump(exclude={"power", "power_source"}),
        **{f"copying_{part.crop_px}": part.similarity for part in measured.copying},
        **{f"copying_baseline_{part.crop_px}": part.baseline for part in measured.copying},
        "copied": copied((part.similarity, part.baseline) for part in measured.copying),
    }


def portilla_simoncelli_columns(distances: Mapping[str, float | None]) -> Row:
    """Return the columns of what `stimgen.measure.portilla_simoncelli` measures."""
    return {
        "ps_distance" if family == OVERALL else f"ps_distance_{family}": distance
        for family, distance in distances.items()
    }


def gram_columns(distances: Iterable[GramDistance], scales: Iterable[GramScale]) -> Row:
    """Return the columns of each layer: distances with their scale.

    Parameters
    ----------
    distances
        Of the file.
    scales
        Of the same layers.
    """
    of_layer = {scale.layer: scale for scale in scales}
    row: Row = {}
    for distance in distances:
        layer, scale = distance.layer, of_layer[distance.layer]
        row |= {
            f"gram_loss_{layer}": distance.gram_loss,
            f"gram_relative_{layer}": distance.gram_relative,
            f"gram_normalised_{layer}": scale.normalised(distance.gram_relative),
            f"gram_floor_{layer}": scale.floor,
            f"gram_ceiling_{layer}": scale.ceiling,
        }
    return row
