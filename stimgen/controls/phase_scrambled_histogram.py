"""Phase scrambling that also keeps the histogram (IAAFT)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stimgen.controls.phase_scrambled import random_phases, with_phases
from stimgen.controls.registration import ImageWithResiduals, register_control
from stimgen.images.pixels import Image, relative_error, wasserstein_1
from stimgen.matching.histogram import match_histogram_exact
from stimgen.references import SCHREIBER_1996

# Relative to the power at frequency zero; below it is the rounding of the transform.
NO_POWER = 1e-24


@register_control("phase_scrambled_histogram", references=(SCHREIBER_1996,))
def phase_scrambled_histogram(
    source: Image,
    rng: np.random.Generator,
    *,
    iterations: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Largest number of iterations; 0 matches the histogram once, after scrambling.",
        ),
    ] = 100,
) -> ImageWithResiduals:
    """Return the source with random phases, its histogram, and nearly its Fourier amplitudes.

    The iterated amplitude-adjusted Fourier transform of Schreiber & Schmitz (1996) alternates two
    projections. Each replaces an image by the nearest one, in the sum of squares, that has

    - the spectra A_c(u) · exp(i φ(u)), where A_c is the transform of channel c of the source, with one
      free phase field φ for all channels. For an image with the transforms X_c it is
      φ = arg Σ_c X_c · conj A_c (`nearest_phases`);
    - the source's values in each channel, in the order of the image's values (`match_histogram_exact`).

    φ starts at random, so that the first image is that of `phase_scrambled`. The iteration ends after
    `iterations` or when the second projection gives the same image again. In grey images this is the
    published procedure; in colour, channels count by their amplitudes (Liu, Gousseau & Xia 2016). The
    residuals are `spectrum_residual` and the Wasserstein-1 distance of the histograms.
    """
    size = (source.shape[0], source.shape[1])
    spectrum = np.fft.rfft2(source.astype(np.float64), axes=(0, 1))

    def with_histogram(phases: NDArray[np.complex128]) -> Image:
        return match_histogram_exact(with_phases(spectrum, phases, size), source, rng)

    image = with_histogram(random_phases(size, rng))
    for _ in range(iterations):
        following = with_histogram(nearest_phases(image, spectrum))
        if np.array_equal(following, image):
            break
        image = following
    residuals = {
        "spectrum": spectrum_residual(image, source),
        "histogram": wasserstein_1(_sorted(image), _sorted(source)),
    }
    return ImageWithResiduals(image, residuals)


def nearest_phases(image: Image, spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the phase field that brings a spectrum nearest to an image.

    Of all fields φ, φ(u) = arg Σ_c X_c(u) · conj A_c(u) makes Σ_c |X_c(u) − A_c(u) · exp(i φ(u))|² smallest.
    `spectrum` has the transforms A_c of `numpy.fft.rfft2`, shape (H, W // 2 + 1) or (H, W // 2 + 1, 3), and
    `image` the transforms X_c. The result is exp(i φ), shape (H, W // 2 + 1), and 1 where the sum is 0.
    """
    products = np.fft.rfft2(image.astype(np.float64), axes=(0, 1)) * np.conj(spectrum)
    if products.ndim == 3:
        products = products.sum(axis=2)
    return np.asarray(np.exp(1j * np.angle(products)))


def spectrum_residual(image: NDArray[np.floating], source: NDArray[np.floating]) -> float:
    """Return the relative error of the amplitude spectrum, over all channels and all frequencies but zero.

    √(Σ (A(u) − A₀(u))² / Σ A₀(u)²), with A and A₀ the amplitudes of the discrete Fourier transforms of the
    image and the source, (H, W) or (H, W, 3). It is 0 where the source is constant.
    """
    before, after = (np.abs(np.fft.fft2(x.astype(np.float64), axes=(0, 1))) for x in (source, image))
    mean_power = float(np.sum(before[0, 0] ** 2))
    before[0, 0] = after[0, 0] = 0.0
    power = float(np.sum(before**2))
    if power <= NO_POWER * mean_power:
        return 0.0
    return relative_error(float(np.sum((after - before) ** 2)), power) or 0.0


def _sorted(image: Image) -> NDArray[np.float64]:
    return np.sort(image.astype(np.float64).reshape(-1, *image.shape[2:]), axis=0)
