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

    divided by its standard deviation. Its amplitudes are f^(−alpha) in every exemplar and not only on
    average. It is Gaussian as a sum of many waves with independent phases, the less so the fewer low
    frequencies a large alpha leaves. The image is

        mean_c + sd_c · n

    in channel c, with one field n for red, green and blue: colours vary along one line through the mean
    colour, and all channels are bright at the same places. Correlations between channels are 1.

    Natural images have an alpha of about 1 (Field 1987). Only the size of the source and the mean and
    standard deviation (divisor n) of each channel are used, and kept up to the rounding to float32. Values
    may leave 0..1, where clipping changes them. A constant source gives a constant image.

    References
    ----------
    Field, D. J. (1987). Relations between the statistics of natural images and the response properties of
    cortical cells. J. Opt. Soc. Am. A 4, 2379–2394.

    Galerne, B., Gousseau, Y. & Morel, J.-M. (2011). Random phase textures: theory and synthesis. IEEE
    Trans. Image Processing 20, 257–267, for random phases with given amplitudes.
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
    image: Image = (mean + sd * field).astype(np.float32)
    return image
