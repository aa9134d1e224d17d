"""Phase scrambling: the source's amplitude spectrum with random phases."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stimgen.controls.registration import register_control
from stimgen.images.pixels import Image
from stimgen.references import GALERNE_2011, MOISAN_2011, OPPENHEIM_1981


@register_control(
    "phase_scrambled",
    common=True,
    references=(OPPENHEIM_1981, GALERNE_2011),
    option_references={"periodic_component": (MOISAN_2011,)},
)
def phase_scrambled(
    source: Image,
    rng: np.random.Generator,
    *,
    periodic_component: Annotated[
        bool,
        Field(
            description="Scramble the periodic component of the source (Moisan 2011), so that the jump "
            "between opposite borders leaves no horizontal and vertical streaks in the image. This lowers "
            "contrast by what the jump had of it."
        ),
    ] = False,
) -> Image:
    """Return noise with the spectrum of the source: its Fourier amplitudes with random phases.

    With A(u) the 2-D discrete Fourier transform of a channel and φ(u) a random phase field
    (`random_phases`), the result is the inverse transform of A(u) · exp(i φ(u)). One field φ is added to R, G
    and B, which keeps the phase differences between channels. Values may leave 0..1.
    """
    pixels = source.astype(np.float64)
    if periodic_component:
        pixels = periodic(pixels)
    size = (pixels.shape[0], pixels.shape[1])
    spectrum = np.fft.rfft2(pixels, axes=(0, 1))
    return with_phases(spectrum, random_phases(size, rng), size).astype(np.float32)


def periodic(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the periodic component p of an image u = p + s, without the jump between opposite borders.

    The smooth component s solves Δs = v with the periodic discrete Laplacian Δ (four neighbours), where v
    holds the jumps, v = v_rows + v_columns: v_rows is u(H−1, x) − u(0, x) in row 0, its negative in row
    H−1, and 0 elsewhere; v_columns likewise. In the Fourier domain, with q, r the row and column frequency,

        ŝ(q, r) = v̂(q, r) / (2 cos(2πq/H) + 2 cos(2πr/W) − 4),   ŝ(0, 0) = 0

    (Moisan 2011). The image is (H, W) or (H, W, C). The mean stays.
    """
    height, width = pixels.shape[:2]
    jumps = np.zeros_like(pixels)
    between_rows = pixels[-1] - pixels[0]
    jumps[0] += between_rows
    jumps[-1] -= between_rows
    between_columns = pixels[:, -1] - pixels[:, 0]
    jumps[:, 0] += between_columns
    jumps[:, -1] -= between_columns
    rows = 2 * np.cos(2 * np.pi * np.arange(height) / height)
    columns = 2 * np.cos(2 * np.pi * np.arange(width // 2 + 1) / width)
    laplacian = rows[:, np.newaxis] + columns - 4
    # Frequency zero of the jumps is 0, so any divisor leaves the mean of the smooth component at 0.
    laplacian[0, 0] = 1.0
    if pixels.ndim == 3:
        laplacian = laplacian[:, :, np.newaxis]
    smooth = np.fft.irfft2(np.fft.rfft2(jumps, axes=(0, 1)) / laplacian, s=(height, width), axes=(0, 1))
    return pixels - smooth


def random_phases(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Return exp(i φ) with φ the phase of the discrete Fourier transform of white Gaussian noise.

    φ(−u) = −φ(u), and φ is set to 0 at frequency zero. `size` is the height H and width W of the image, for
    which H × W normal deviates are drawn. The result is the half of the field that `numpy.fft.rfft2` would
    return, (H, W // 2 + 1), with moduli of 1.
    """
    noise = np.fft.rfft2(rng.standard_normal(size))
    phases: NDArray[np.complex128] = np.exp(1j * np.angle(noise))
    phases[0, 0] = 1.0
    return phases


def with_phases(
    spectrum: NDArray[np.inexact], phases: NDArray[np.complex128], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the inverse transform of a spectrum whose channels are all multiplied by one phase field.

    The spectrum is (H, W // 2 + 1) or (H, W // 2 + 1, C), real or complex, and the phases are those of
    `random_phases`. The image, of height H and width W, is (H, W) or (H, W, C).
    """
    if spectrum.ndim == 3:
        phases = phases[:, :, np.newaxis]
    return np.fft.irfft2(spectrum * phases, s=size, axes=(0, 1))
