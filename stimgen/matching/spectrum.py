"""Amplitude spectra of a plane, and planes that are given another spectrum.

Matching follows the SHINE toolbox (Willenbockel et al. 2010, Behavior Research Methods 42, 671–684).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError

# Relative to the image's root mean square; below it is the rounding of the transform.
NO_AMPLITUDE = 1e-12


def amplitudes(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the amplitudes |X(u, v)| of a plane's discrete Fourier transform, without frequency zero.

    The plane is (H, W); the result is the half (H, W // 2 + 1) that `numpy.fft.rfft2` returns, with 0 at
    frequency zero. Amplitudes below 10⁻¹² · H · W times the root mean square of the plane are the rounding of
    the transform, and are set to 0.
    """
    return _amplitudes(np.fft.rfft2(plane.astype(np.float64)), plane)


def rings(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the ring of every frequency: its radius in cycles per image, rounded.

    They are the rings of `stimgen.measure.spectrum.PowerSpectrum.radial`, and go on beyond the Nyquist
    frequency into the corners of the spectrum. The result is (H, W // 2 + 1).
    """
    height, width = shape
    rows = np.fft.ifftshift(np.arange(height) - height // 2)[:, np.newaxis]
    columns = np.arange(width // 2 + 1)[np.newaxis, :]
    # Roots of whole numbers: frequencies on one circle have exactly the same radius.
    radius = np.sqrt(((rows * width) ** 2 + (columns * height) ** 2).astype(np.float64)) / max(shape)
    ring: NDArray[np.intp] = np.rint(radius).astype(np.intp)
    return ring


def ring_sizes(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the number of frequencies in each ring, (u, v) and (−u, −v) both counted, zero not."""
    number = multiplicity(shape)
    number[0, 0] = 0
    return np.bincount(rings(shape).ravel(), weights=number.ravel()).astype(np.float64)


def rotational_average(amplitude: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the mean amplitude of each ring; 0 for a ring without frequencies.

    `amplitude` is (H, W // 2 + 1), as from `amplitudes`, and `shape` the height H and width W of the image.
    """
    weighted = amplitude * multiplicity(shape)
    weighted[0, 0] = 0
    total = np.bincount(rings(shape).ravel(), weights=weighted.ravel())
    average: NDArray[np.float64] = total / np.maximum(ring_sizes(shape), 1)
    return average


def match_full_spectrum(plane: NDArray[np.floating], amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the plane with other Fourier amplitudes, and its own phases and mean.

    The inverse transform of A₀(u) · X(u) / |X(u)|, with X of the plane and A₀ the given `amplitude`, as from
    `amplitudes`; at frequency zero of X(0). Where the plane has no amplitude, the phase is 0. A constant
    plane has no phases, and raises StimgenError unless A₀ is 0.
    """
    spectrum = np.fft.rfft2(plane.astype(np.float64))
    own = _amplitudes(spectrum, plane)
    if not own.any() and amplitude.any():
        raise _constant_image()
    present = own > 0
    matched = np.where(present, spectrum * (amplitude / np.where(present, own, 1)), amplitude)
    return _inverse(matched, spectrum, plane)


def match_rotational_spectrum(
    plane: NDArray[np.floating], average: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the plane with another rotational average of its amplitudes, and its own phases and mean.

    The inverse transform of X(u) · a₀(k) / a(k) for each frequency u in ring k, with a the rotational
    average of the plane's amplitudes |X| and a₀ the given `average`. A plane without amplitude in a ring
    where a₀ is not 0 raises StimgenError.
    """
    shape = (plane.shape[0], plane.shape[1])
    spectrum = np.fft.rfft2(plane.astype(np.float64))
    own = _amplitudes(spectrum, plane)
    if not own.any() and average.any():
        raise _constant_image()
    before = rotational_average(own, shape)
    if (empty := np.flatnonzero((before == 0) & (average > 0))).size:
        raise StimgenError(
            f"An image has nothing at the spatial frequency of {empty[0]} cycles per image, which can't be "
            "scaled to the rotational average of another one.",
            "Match the full spectrum, or leave out rotational_spectrum or this source or condition.",
        )
    factor = average / np.where(before > 0, before, 1)
    return _inverse(spectrum * factor[rings(shape)], spectrum, plane)


def _amplitudes(spectrum: NDArray[np.complex128], plane: NDArray[np.floating]) -> NDArray[np.float64]:
    amplitude: NDArray[np.float64] = np.abs(spectrum)
    rms = float(np.sqrt(np.mean(plane.astype(np.float64) ** 2)))
    amplitude[amplitude <= NO_AMPLITUDE * plane.size * rms] = 0
    amplitude[0, 0] = 0
    return amplitude


def _inverse(
    matched: NDArray[np.complex128], spectrum: NDArray[np.complex128], plane: NDArray[np.floating]
) -> NDArray[np.float64]:
    matched[0, 0] = spectrum[0, 0]
    image: NDArray[np.float64] = np.fft.irfft2(matched, s=plane.shape)
    return image


def multiplicity(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return, for each frequency of a half spectrum, how many of (u, v), (−u, −v) it stands for."""
    height, width = shape
    columns = np.where(2 * np.arange(width // 2 + 1) % width == 0, 1.0, 2.0)
    return np.tile(columns, (height, 1))


def _constant_image() -> StimgenError:
    return StimgenError(
        "A constant image, or channel of one, has no Fourier phases to go with another's spectrum.",
        "In colour try channels: luminance; or leave out the matching of spectra, or this source or "
        "condition.",
    )
