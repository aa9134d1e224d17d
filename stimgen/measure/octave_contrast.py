"""Contrast at each scale."""

from __future__ import annotations

import numpy as np

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

OCTAVES_CPI = (4, 8, 16, 32, 64, 128, 256, 512)
"""Centres of the octaves, cycles per image."""


@register_statistic(
    "octave_contrast",
    order=13,
    columns=tuple(
        Column(
            f"octave_contrast_{centre}",
            f"RMS contrast at {centre} cycles/image",
            f"Root mean square of the octave around {centre} cycles per image, divided by mean luminance: "
            "sqrt(sum P G^2) / luminance_mean, P the spectrum behind a Laplacian and a Hann window, G = 1/2 "
            f"+ cos(pi log2(f / {centre})) / 2 from {centre // 2} to {2 * centre} cycles per image. Empty "
            "where that is beyond the Nyquist frequency, and for a black image.",
            origin="Peli (1990), J. Opt. Soc. Am. A 7:2032",
        )
        for centre in OCTAVES_CPI
    ),
)
def octave_contrast(image: DecodedImage) -> Values:
    """Return the RMS contrast in octaves of spatial frequency.

    The filters are those of Peli (1990), cosines on a logarithmic axis of frequency, of which neighbours add
    up to 1. Peli divides the filtered image by its local mean; here the mean luminance divides, as in
    `rms_contrast`, which makes dark areas no exception. Filtering is done in the windowed spectrum
    (`stimgen.measure.spectrum`), whose powers add up. The window spreads the power of a grating of 4 cycles
    per image so that 0.95 of its contrast is found, of 8 cycles 0.99; a broad spectrum gains what it loses.
    """
    spectrum, mean = image.windowed_spectrum, float(image.luminance.mean())
    shortest = min(spectrum.shape)
    present = spectrum.power > 0
    octave = np.log2(spectrum.radius[present] * shortest)
    power = spectrum.power[present]
    values: Values = {}
    for centre in OCTAVES_CPI:
        distance = np.abs(octave - np.log2(centre))
        inside = distance < 1
        gain = 0.5 + 0.5 * np.cos(np.pi * distance[inside])
        known = mean > 0 and 2 * centre <= shortest / 2
        values[f"octave_contrast_{centre}"] = (
            float(np.sqrt(power[inside] @ gain**2)) / mean if known else None
        )
    return values
