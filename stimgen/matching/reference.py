"""What images are matched to: the statistics of one image, or their mean over a set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stimgen.images.pixels import Image, luminance
from stimgen.matching.histogram import mean_and_sd
from stimgen.matching.spectrum import amplitudes, rotational_average

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

    All statistics are tuples with one entry per plane (`planes_of`), computed when they are first used.
    """

    images: tuple[Image, ...]
    channels: Channels = "rgb"

    @functools.cached_property
    def values(self) -> Planes:
        """Sorted pixel values, each (H · W,), of several images the mean of the k-th smallest values.

        Rounded to float32, as the pixels that get them.
        """
        means = self._mean(lambda plane: np.sort(plane, axis=None))
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
