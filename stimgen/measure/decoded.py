"""An image as statistics see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stimgen.images.masks import Inside
from stimgen.images.pixels import luminance
from stimgen.measure.spectrum import PowerSpectrum, power_spectrum, windowed_spectrum


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """The pixels of an image, and what several statistics need of them, each computed once."""

    pixels: NDArray[np.floating]  # (H, W) or (H, W, 3), values 0..1
    side_deg: float | None = None  # shorter side in degrees of visual angle; None if unknown
    device: str = "cpu"  # where PyTorch computes, such as "cpu" or "cuda:0"
    inside: Inside | None = None  # (H, W), the pixels that count; None for all

    @cached_property
    def counted(self) -> DecodedImage:
        """The pixels that count, of an image with a mask as one column: places mean nothing in it."""
        return self if self.inside is None else DecodedImage(self.pixels[self.inside][:, np.newaxis])

    @cached_property
    def luminance(self) -> NDArray[np.float64]:
        """Luminance of each pixel, (H, W); see `stimgen.images.pixels.luminance`."""
        plane = luminance(self.pixels)
        if not plane.size or not np.isfinite(plane).all():
            raise ValueError("statistics need pixels, all of them finite")
        return plane

    @cached_property
    def sorted_luminance(self) -> NDArray[np.float64]:
        """Luminance values in ascending order, (H · W,)."""
        return np.sort(self.luminance, axis=None)

    @cached_property
    def spectrum(self) -> PowerSpectrum:
        """Power spectrum of the luminance; see `stimgen.measure.spectrum`."""
        return power_spectrum(self.luminance)

    @cached_property
    def windowed_spectrum(self) -> PowerSpectrum:
        """Power spectrum without the jump between borders; see `stimgen.measure.spectrum`."""
        return windowed_spectrum(self.luminance)

    def per_degree(self, cycles_per_image: float | None) -> float | None:
        """Return a frequency in cycles per degree; None if it or the visual angle is unknown."""
        return None if cycles_per_image is None or not self.side_deg else cycles_per_image / self.side_deg
