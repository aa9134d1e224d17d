"""Noise with a spectrum that falls as a power of frequency."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stimgen.controls.phase_scrambled import random_phases, with_phases
from stimgen.controls.registration import register_control
from stimgen.images.pixels import Image
from stimgen.references import FIELD_1987, GALERNE_2011


@register_control("noise", references=(FIELD_1987, GALERNE_2011))
def noise(
    source: Image,
    rng: np.random.Generator,
    *,
    alpha: Annotated[
        float,
        Field(ge=0, le=4, description="Exponent of the amplitude spectrum 1/f^alpha; 0 is white noise."),
    ] = 1.0,
) -> Image:
    """Return noise with the amplitude spectrum 1/f^alpha and the source's mean and standard deviation.

    With f the radius of a frequency in cycles per pixel and φ a random phase field (`random_phases`), the
    noise n is the inverse transform of

        f^(−alpha) · exp(i φ),   0 at frequency zero,

    divided by its standard deviation. The image is mean_c + sd_c · n in channel c, with one field n for red,
    green and blue. Values may leave 0..1. A constant source gives a constant image.
    """
    height, width = source.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0  # the amplitude there is set next
    amplitude = frequency**-alpha
    amplitude[0, 0] = 0.0
    field = with_phases(amplitude, random_phases((height, width), rng), (height, width))
    # An image of one pixel has only frequency zero, and a field of 0.
    field /= field.std() or 1.0
    pixels = source.astype(np.float64)
    mean, sd = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    if source.ndim == 3:
        field = field[:, :, np.newaxis]
    return np.asarray(mean + sd * field, dtype=np.float32)
