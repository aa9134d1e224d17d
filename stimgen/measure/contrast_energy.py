"""Contrast energy and spatial coherence: local contrast as by cells of the lateral geniculate nucleus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

ENERGY_SIGMAS_PX, ENERGY_FIELD_DEG = (24, 12, 6, 3), 1.5
"""Filters, coarse to fine, and radius of the field of contrast energy."""

COHERENCE_SIGMAS_PX, COHERENCE_FIELD_DEG = (32, 16, 8, 4), 5.0
"""The same of spatial coherence."""

THRESHOLDS = {
    1: 2.98873239e-2,
    2: 6.13561269e-3,
    4: 1.59229199e-3,
    8: 4.63650433e-4,
    16: 1.31772218e-4,
    32: 3.64672775e-5,
}
"""From sigma in px to the response that is noise, as published with the model; linear in between."""

LEAST_RESPONSE = 1e-7

NO_ENERGY = 1e-10
"""Below is the rounding of the filters; in an area of one luminance its variation would be 0, too."""

TINY = float(np.finfo(float).tiny)
"""Keeps 0 / 0 at 0."""

GROEN = "Groen et al. (2013), J. Neurosci. 33:18814"


def local_contrast(plane: NDArray[np.float64], sigmas_px: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the contrast at each pixel, of the finest filter that sees any.

    For each σ, with E_x and E_y the plane filtered along rows and along columns with the second derivative of
    a Gaussian, E = √(E_x² + E_y²), m its maximum over the plane, and S its local coefficient of variation
    (standard deviation over mean, in a Gaussian of the same σ), the response is divided by its surround:

        R = E m / (E + m S) − t

    with t the threshold. The contrast is R of the smallest σ for which R > 10⁻⁷, and 0 where there is none.
    """
    contrast = np.zeros_like(plane)
    for sigma in sigmas_px:
        derivative, gaussian = _second_derivative(sigma), _gaussian(sigma)
        squares = _correlated(plane, derivative, 1) ** 2 + _correlated(plane, derivative, 0) ** 2
        squares[squares <= NO_ENERGY**2] = 0
        energy = np.sqrt(squares)
        largest = float(energy.max())
        mean, square = (_correlated(_correlated(x, gaussian, 0), gaussian, 1) for x in (energy, squares))
        surround = largest * np.sqrt(np.maximum(square - mean**2, 0)) / (mean + TINY)
        threshold = np.interp(sigma, list(THRESHOLDS), list(THRESHOLDS.values()))
        response = energy * largest / (energy + surround + TINY) - threshold
        np.copyto(contrast, response, where=response > LEAST_RESPONSE)
    return contrast


@register_statistic(
    "contrast_energy",
    order=14,
    columns=(
        Column(
            "contrast_energy",
            "Contrast energy",
            "Mean local contrast within 1.5 degrees of the centre of the image, of luminance, in the filters "
            "of 3 to 24 px of the authors' model of the lateral geniculate nucleus. Empty where visual angle "
            "is unknown.",
            origin=GROEN,
        ),
        Column(
            "spatial_coherence",
            "Spatial coherence",
            "Mean divided by standard deviation (divisor n - 1) of local contrast within 5 degrees of the "
            "centre, in the filters of 4 to 32 px of the same model: high for cluttered images. Empty where "
            "visual angle is unknown, and where contrast is the same everywhere.",
            origin=GROEN,
        ),
    ),
)
def contrast_energy(image: DecodedImage) -> Values:
    """Return contrast energy and spatial coherence (Groen et al. 2013).

    Contrast energy is the mean of `local_contrast` within 1.5° of the centre, spatial coherence its mean
    divided by its standard deviation within 5°. Filters are in pixels, whatever the resolution, as in the
    authors' program (https://github.com/irisgroen/LGNstatistics), which also names filters of σ = 48 and 64
    px that have no threshold and no effect. Differences:
    luminance has the weights of ITU-R BT.709 and is not divided by its maximum in grey images; the centre is
    that of the image; and angles are proportional to pixels.
    """
    if not image.side_deg:
        return {"contrast_energy": None, "spatial_coherence": None}
    height, width = image.luminance.shape
    rows = np.arange(height)[:, np.newaxis] - (height - 1) / 2
    columns = np.arange(width) - (width - 1) / 2
    eccentricity = np.sqrt(rows**2 + columns**2) * (image.side_deg / min(height, width))
    near = local_contrast(image.luminance, ENERGY_SIGMAS_PX)[eccentricity < ENERGY_FIELD_DEG]
    wide = local_contrast(image.luminance, COHERENCE_SIGMAS_PX)[eccentricity < COHERENCE_FIELD_DEG]
    spread = float(wide.std(ddof=1)) if wide.size > 1 and np.ptp(wide) else 0.0
    return {
        "contrast_energy": float(near.mean()) if near.size else None,
        "spatial_coherence": float(wide.mean()) / spread if spread else None,
    }


def _second_derivative(sigma: int) -> NDArray[np.float64]:
    """Return the second derivative of a Gaussian up to 3 σ; 0 for a plane or slope, 1 for x² / 2."""
    x = np.arange(-3 * sigma, 3 * sigma + 1, dtype=np.float64)
    kernel: NDArray[np.float64] = (x**2 / sigma**4 - 1 / sigma**2) * np.exp(-(x**2) / (2 * sigma**2))
    kernel -= kernel.mean()
    kernel /= np.sum(0.5 * x**2 * kernel)
    return kernel


def _gaussian(sigma: int) -> NDArray[np.float64]:
    """Return a Gaussian of 3 σ px in all, which is cut off at 1.5 σ, with a sum of 1."""
    x = np.arange(3 * sigma) - (3 * sigma - 1) / 2
    kernel: NDArray[np.float64] = np.exp(-(x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return kernel


def _correlated(plane: NDArray[np.float64], kernel: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return a plane correlated with a kernel along an axis, its borders prolonged.

    A kernel of n pixels reaches (n − 1) // 2 pixels back and n // 2 forward.
    """
    from scipy import fft

    lines = np.moveaxis(plane, axis, 1)
    side, before = lines.shape[1], (len(kernel) - 1) // 2
    length = fft.next_fast_len(side + len(kernel) - 1, real=True)
    transform = fft.rfft(np.pad(lines, ((0, 0), (before, length - side - before)), mode="edge"))
    transform *= np.conj(fft.rfft(kernel, length))
    found: NDArray[np.float64] = fft.irfft(transform, length, overwrite_x=True)[:, :side]
    return np.moveaxis(found, 1, axis)
