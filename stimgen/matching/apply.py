"""Match an image to a source, or to the mean of a set: all statistics that are asked for, in their order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image, luminance, relative_error, wasserstein_1
from stimgen.matching.histogram import match_histogram_exact, match_luminance, mean_and_sd
from stimgen.matching.spectrum import (
    amplitudes,
    match_full_spectrum,
    match_rotational_spectrum,
    multiplicity,
    ring_sizes,
    rotational_average,
)

# Values that leave 0..1 by less are rounding of float32.
ROUNDING = 1e-6


Channels = Literal["rgb", "luminance"]
Planes = tuple[NDArray[np.float64], ...]


def planes_of(image: NDArray[np.floating], channels: Channels) -> Planes:
    """Return what is matched: a grey image, R, G and B each by itself, or the luminance of a colour image."""
    if image.ndim == 2 or channels == "luminance":
        return (luminance(image),)
    return tuple(image[..., channel].astype(np.float64) for channel in range(image.shape[2]))


@dataclass(frozen=True, eq=False)
class Reference:
    """What images are matched to: the mean statistics of one image or several of one shape.

    Images with a mask are one column of their pixels inside (`stimgen.images.sources.Source.counted`), and
    have no spectra.

    All statistics are tuples with one entry per plane (`planes_of`), computed when they are first used.
    """

    images: tuple[Image, ...]
    channels: Channels = "rgb"

    @functools.cached_property
    def values(self) -> Planes:
        """Sorted pixel values, each (H · W,), of several images the mean of the k-th smallest values.

        Rounded to float32, as the pixels that get them. Images with fewer pixels than others have their
        quantiles (`stretched`).
        """
        most = max(image.shape[0] * image.shape[1] for image in self.images)
        means = self._mean(lambda plane: stretched(np.sort(plane, axis=None), most))
        return tuple(values.astype(np.float32).astype(np.float64) for values in means)

    @functools.cached_property
    def luminance(self) -> tuple[tuple[float, float], ...]:
        """Mean, and standard deviation (divisor n); of several images the mean of their SDs."""
        both = self._mean(lambda plane: np.array(mean_and_sd(plane)))
        return tuple((float(mean), float(sd)) for mean, sd in both)

    @functools.cached_property
    def amplitude(self) -> Planes:
        """Amplitudes of the Fourier transform (not powers), as from `amplitudes`."""
        return self._mean(amplitudes)

    @functools.cached_property
    def rotational(self) -> Planes:
        """Rotational average of the amplitudes; the mean of averages is the average of the mean."""
        shape = (self.images[0].shape[0], self.images[0].shape[1])
        return tuple(rotational_average(amplitude, shape) for amplitude in self.amplitude)

    def _mean(self, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Planes:
        total = [statistic(plane) for plane in planes_of(self.images[0], self.channels)]
        for image in self.images[1:]:
            for sum_so_far, plane in zip(total, planes_of(image, self.channels), strict=True):
                sum_so_far += statistic(plane)
        return tuple(plane / len(self.images) for plane in total)


@dataclass(frozen=True, eq=False)
class Targets:
    """What an image is matched to; None for what is not matched.

    Not both spectra, and not luminance together with histogram. Spectrum and histogram alternate `iterations`
    times; 1 unless both are matched.
    """

    histogram: Reference | None = None
    luminance: Reference | None = None
    rotational_spectrum: Reference | None = None
    full_spectrum: Reference | None = None
    channels: Channels = "rgb"
    iterations: int = 1


@dataclass(frozen=True)
class Residuals:
    """How far an image is from its targets: 0 is exact, None was not asked for.

    `spectrum` is √(Σ (A(u) − A₀(u))² / Σ A₀(u)²) over all planes and frequencies but zero, for
    `rotational_spectrum` with the rotational averages at u; None where A₀ is 0 everywhere. The others are
    means over the planes.
    """

    mean: float | None = None  # |mean − mean₀|
    contrast: float | None = None  # |SD − SD₀|
    histogram: float | None = None  # Wasserstein-1 distance, Σ_k |x_k − y_k| / n over the sorted values
    spectrum: float | None = None


def match(image: Image, targets: Targets, rng: np.random.Generator) -> Image:
    """Return the image matched to all targets: first the spectrum, then luminance or the histogram.

    What comes last is exact. Spectrum and histogram alternate `targets.iterations` times, and end with the
    histogram. Where the luminance of a colour image is matched, the difference it makes to a pixel is added
    to its R, G and B. Ties of the histogram are broken by `rng`, in the same way in all planes, so that equal
    planes with equal targets stay equal. Values may leave 0..1.
    """
    if not any((targets.histogram, targets.luminance, targets.rotational_spectrum, targets.full_spectrum)):
        return image
    before = planes_of(image, targets.channels)
    planes = list(before)
    for _ in range(targets.iterations):
        ties = int(rng.integers(2**63))
        for index, plane in enumerate(planes):
            planes[index] = _match_plane(plane, targets, index, np.random.default_rng(ties))
    if image.ndim == 2:
        return planes[0].astype(np.float32)
    if targets.channels == "luminance":
        change = planes[0] - before[0]
        return (image.astype(np.float64) + change[..., np.newaxis]).astype(np.float32)
    return np.stack(planes, axis=2).astype(np.float32)


def stretched(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return so many quantiles of n sorted values: of (k + 1/2) / count, the value ⌊n (k + 1/2) / count⌋.

    Examples
    --------
    >>> stretched(np.array([1.0, 2.0, 3.0]), 5)
    array([1., 1., 2., 3., 3.])
    """
    quantiles: NDArray[np.float64] = values[(2 * np.arange(count) + 1) * len(values) // (2 * count)]
    return quantiles


def residuals(image: Image, targets: Targets) -> Residuals:
    """Return how far an image, as matched and clipped, is from its targets."""
    planes = planes_of(image, targets.channels)
    mean = contrast = histogram = spectrum = None
    if targets.luminance:
        pairs = np.abs(np.array([mean_and_sd(plane) for plane in planes]) - targets.luminance.luminance)
        mean, contrast = (float(value) for value in pairs.mean(axis=0))
    if targets.histogram:
        values = np.sort(np.reshape(planes, (len(planes), -1)))
        goals = [stretched(goal, values.shape[1]) for goal in targets.histogram.values]
        histogram = wasserstein_1(values, np.array(goals))
    if targets.full_spectrum or targets.rotational_spectrum:
        spectrum = _spectrum_error(planes, targets)
    return Residuals(mean, contrast, histogram, spectrum)


def clip_to_display(image: NDArray[np.floating]) -> tuple[Image, float]:
    """Return the image clipped to 0..1, and the share of the pixels of which a channel was outside.

    The image is (H, W) or (H, W, 3).
    """
    if not np.isfinite(image).all():
        problem = "An image with values that are not finite has no range."
        raise StimgenError(problem, "Look for the step that made them.")
    outside = (image < -ROUNDING) | (image > 1 + ROUNDING)
    pixels = outside.any(axis=2) if outside.ndim == 3 else outside
    return np.clip(image, 0, 1).astype(np.float32), float(pixels.mean())


def _match_plane(
    plane: NDArray[np.float64], targets: Targets, index: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    if targets.full_spectrum:
        plane = match_full_spectrum(plane, targets.full_spectrum.amplitude[index])
    if targets.rotational_spectrum:
        plane = match_rotational_spectrum(plane, targets.rotational_spectrum.rotational[index])
    if targets.luminance:
        plane = match_luminance(plane, *targets.luminance.luminance[index])
    if targets.histogram:
        values = stretched(targets.histogram.values[index], plane.size).reshape(plane.shape)
        # In float32, so that pixels which differ by the rounding of a transform are ties.
        plane = match_histogram_exact(plane.astype(np.float32), values, rng).astype(np.float64)
    return plane


def _spectrum_error(planes: Planes, targets: Targets) -> float | None:
    shape = (planes[0].shape[0], planes[0].shape[1])
    own: Planes = tuple(amplitudes(plane) for plane in planes)
    if targets.full_spectrum:
        goal, weights = targets.full_spectrum.amplitude, multiplicity(shape)
    else:
        assert targets.rotational_spectrum is not None
        goal, weights = targets.rotational_spectrum.rotational, ring_sizes(shape)
        own = tuple(rotational_average(amplitude, shape) for amplitude in own)
    power = sum(float(np.sum(weights * plane**2)) for plane in goal)
    difference = sum(float(np.sum(weights * (a - b) ** 2)) for a, b in zip(own, goal, strict=True))
    return relative_error(difference, power)
