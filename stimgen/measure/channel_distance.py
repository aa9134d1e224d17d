"""How far the spectra of the channels of a colour image are from its source's."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.images.pixels import relative_error
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic
from stimgen.measure.spectrum import PowerSpectrum, power_spectrum


def channel_spectra(image: DecodedImage) -> list[PowerSpectrum] | None:
    """Return the power spectra of R, G and B; None for a grey image."""
    if image.pixels.ndim == 2:
        return None
    return [power_spectrum(image.pixels[..., channel]) for channel in range(3)]


@register_statistic(
    "channel_distance",
    order=41,
    prepare=lambda source: channel_spectra(source) if source.inside is None else None,
    columns=(
        Column(
            "amplitude_error_rgb",
            "Amplitude error of the channels",
            "sqrt(sum (|X| - |S|)^2 / sum |S|^2) over R, G and B and all frequencies but zero together, of "
            "the transforms X of the file and S of the source; amplitude_error is of luminance alone. Empty "
            "for grey images, constant sources and sources with a mask.",
        ),
    ),
)
def channel_distance(image: DecodedImage, source: list[PowerSpectrum] | None) -> Values:
    """Return the relative error of the amplitude spectra of R, G and B together.

    √(Σ (|X_c| − |S_c|)² / Σ |S_c|²) over channels c and frequencies, as `amplitude_error` of luminance. None
    for grey images, for images of another shape than the source, and for a constant source.
    """
    own = channel_spectra(image)
    if own is None or source is None or source[0].shape != own[0].shape:
        return {"amplitude_error_rgb": None}
    difference = sum(
        float(np.sum((np.sqrt(x.power) - np.sqrt(s.power)) ** 2)) for x, s in zip(own, source, strict=True)
    )
    return {"amplitude_error_rgb": relative_error(difference, sum(float(s.power.sum()) for s in source))}
