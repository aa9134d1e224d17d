"""Random phase fields, and images made with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_phases(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Return exp(i φ) with φ the phase of the discrete Fourier transform of white Gaussian noise.

    Noise being real, φ(−u) = −φ(u). φ is set to 0 at frequency zero, and is 0 or π at the other frequencies
    that are their own conjugates. All other phases are independent and uniform.

    `size` is the height H and width W of the image, for which H × W normal deviates are drawn. The result is
    the half of the field that `numpy.fft.rfft2` would return, (H, W // 2 + 1), with moduli of 1.
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
