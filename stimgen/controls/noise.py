"""Noise with a spectrum that falls as a power of frequency."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stimgen.controls.phase_scrambled import random_phases, with_phases
from stimgen.controls.registration import Materials, register_control
from stimgen.images.pixels import Image
from stimgen.references import FIELD_1987, GALERNE_2011


@register_control("noise", of_mask="square", references=(FIELD_1987, GALERNE_2011))
def noise(
    source: Image,
    rng: np.random.Generator,
    materials: Materials,
    *,
    alpha: Annotated[
        float,
        Field(ge=0, le=4, description="Exponent of the amplitude spectrum 1/f^alpha; 0 is white noise."),
    ] = 1.0,
) -> Image:
    """Return noise with the amplitude spectrum 1/f^alpha and the source's means and channel covariance.

    With f the radius of a frequency in cycles per pixel and φ a random phase field (`random_phases`), the
    noise n is the inverse transform of

        f^(−alpha) · exp(i φ),   0 at frequency zero,

    divided by its standard deviation. A grey image is mean + sd · n. In colour, three such fields, made
    uncorrelated with variance 1 (S^(−1/2), S their own covariance), are multiplied by the root C^(1/2) of
    the source's covariance of red, green and blue, which holds from 8 × 8 px on. With a mask, both are
    of the pixels inside. Values may leave 0..1. A constant source gives a constant image.
    """
    height, width = source.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0  # the amplitude there is set next
    amplitude = frequency**-alpha
    amplitude[0, 0] = 0.0
    pixels = source.reshape(height * width, -1).astype(np.float64)
    if materials.inside is not None:
        pixels = pixels[materials.inside.ravel()]
    channels = pixels.shape[1]
    fields = np.stack(
        [
            with_phases(amplitude, random_phases((height, width), rng), (height, width)).ravel()
            for _ in range(channels)
        ],
        axis=1,
    )
    whitened = fields @ _power(fields, -0.5)
    noise = pixels.mean(axis=0) + whitened @ _power(pixels, 0.5)
    return np.asarray(noise.reshape(source.shape), dtype=np.float32)


def _power(values: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Return a power of the covariance of columns; directions without variance have the power 0."""
    deviations = values - values.mean(axis=0)
    variances, axes = np.linalg.eigh(deviations.T @ deviations / len(values))
    used = variances > 1e-12 * max(variances.max(), 1e-300)
    powers = np.where(used, np.where(used, variances, 1.0) ** exponent, 0.0)
    return np.asarray((axes * powers) @ axes.T)
