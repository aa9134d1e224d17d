"""Images of one histogram, one mean and contrast, or one spectrum, along which a texture can be optimised.

A descent along such a surface projects gradients and directions on its tangent space, and brings each trial
image back to it (Absil, Mahony & Sepulchre 2008, Optimization Algorithms on Matrix Manifolds, chapter 4). Its
result has the histogram, luminance or spectrum, and what is matched as far as the two can be had together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.images.pixels import REC709

BLOCK = 64
"""Pixels that follow each other in rank, whose mean change is 0 along images of one histogram."""


class Surface(ABC):
    """Images (batch, channel, height, width) that share a statistic of their planes.

    The planes are all channels or, with `of_luminance`, the luminance of a colour image, whose changes are
    added to R, G and B alike.
    """

    of_luminance: bool

    @property
    @abstractmethod
    def name(self) -> str:
        """What they share, as an entry of the manifest's section `matching`."""

    @property
    def rounds(self) -> int:
        """How often pixels are clipped to their range and brought back, after which both nearly hold."""
        return 4

    def retract(self, images: Tensor) -> Tensor:
        """Return images on the surface, near the given ones."""
        planes = self._planes(images)
        matched = self.match(planes)
        return matched if planes is images else images + (matched - planes)

    def tangent(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the orthogonal projection of vectors on the tangent space at images on the surface."""
        planes = self._planes(images)
        across = self.across(planes)
        if planes is images:
            return lambda vectors: vectors - across(vectors)
        weights = _weights(images)

        def project(vectors: Tensor) -> Tensor:
            return vectors - across(self._planes(vectors)) * weights / weights.square().sum()

        return project

    @abstractmethod
    def match(self, planes: Tensor) -> Tensor:
        """Return planes with the statistic, near the given ones."""

    @abstractmethod
    def across(self, planes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the projection of vectors on the directions that change the statistic of these planes."""

    def _planes(self, images: Tensor) -> Tensor:
        if not self.of_luminance or images.shape[1] == 1:
            return images
        return (images * _weights(images)).sum(dim=1, keepdim=True)


def _weights(images: Tensor) -> Tensor:
    return images.new_tensor(REC709).view(1, 3, 1, 1)


@dataclass(frozen=True, eq=False)
class Histogram(Surface):
    """Images with given pixel values, sorted, shape (batch, plane, pixels).

    Equal values are spread over half the way to their neighbours, so that small steps change the image.
    """

    values: Tensor
    of_luminance: bool = False
    name = "histogram"

    @property
    def rounds(self) -> int:
        """1 where the values are those of the pixels, and so in their range."""
        return super().rounds if self.of_luminance else 1

    @classmethod
    def of(cls, values: Tensor, of_luminance: bool = False) -> Histogram:
        """Return the surface of sorted values, shape (plane, pixels)."""
        spread = torch.stack([_spread(plane.double()) for plane in values.cpu()])
        return cls(spread[None].to(values), of_luminance)

    def match(self, planes: Tensor) -> Tensor:
        """Give the k-th smallest pixel the k-th smallest value."""
        order = planes.flatten(2).argsort(dim=2)
        matched = torch.empty_like(self.values).scatter_(2, order, self.values)
        return matched.view_as(planes)

    def across(self, planes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the mean over `BLOCK` pixels of similar values, for each of them.

        Where all pixels of a value change alike, ranks stay, and so would the matched image.
        """
        order = planes.flatten(2).argsort(dim=2)

        def project(vectors: Tensor) -> Tensor:
            ranked = vectors.flatten(2).gather(2, order)
            means = F.avg_pool1d(ranked, BLOCK, ceil_mode=True, count_include_pad=False)
            means = means.repeat_interleave(BLOCK, dim=2)[..., : ranked.shape[2]]
            return torch.empty_like(ranked).scatter_(2, order, means).view_as(vectors)

        return project


def _spread(values: Tensor) -> Tensor:
    levels, place, counts = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    ends = levels.diff() / 2
    none = ends.new_zeros(1)
    below, above = torch.cat([none, ends])[place], torch.cat([ends, none])[place]
    first = counts.cumsum(0) - counts
    position = (torch.arange(len(values)) - first[place] + 0.5) / counts[place]
    spread: Tensor = values - below + position * (below + above)
    return spread


@dataclass(frozen=True, eq=False)
class Luminance(Surface):
    """Images with given means and standard deviations (divisor n), each of shape (batch, plane, 1, 1)."""

    mean: Tensor
    sd: Tensor
    of_luminance: bool = False
    name = "luminance"

    def match(self, planes: Tensor) -> Tensor:
        """Scale and shift each plane; a constant one stays constant."""
        centred = planes - planes.mean(dim=(2, 3), keepdim=True)
        own = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        return centred * (self.sd / own.clamp_min(torch.finfo(own.dtype).tiny)) + self.mean

    def across(self, planes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the part along a constant image, and along the image without its mean."""
        centred = planes - planes.mean(dim=(2, 3), keepdim=True)
        square = centred.square().sum(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(planes.dtype).tiny)

        def project(vectors: Tensor) -> Tensor:
            along = (vectors * centred).sum(dim=(2, 3), keepdim=True) / square
            return vectors.mean(dim=(2, 3), keepdim=True) + along * centred

        return project


@dataclass(frozen=True, eq=False)
class Spectrum(Surface):
    """Images with given Fourier amplitudes but at frequency zero, (batch, plane, height, width / 2 + 1).

    With `rings`, the ring of each frequency (`stimgen.matching.spectrum.rings`), `amplitude` is the mean over
    the ring, and one factor multiplies all amplitudes of a ring. `number` is how many frequencies of the
    whole spectrum each one stands for. Both have the shape (height, width / 2 + 1).
    """

    amplitude: Tensor
    number: Tensor
    rings: Tensor | None = None
    of_luminance: bool = False

    @property
    def name(self) -> str:
        """Which of the two spectra it is."""
        return "full_spectrum" if self.rings is None else "rotational_spectrum"

    def match(self, planes: Tensor) -> Tensor:
        """Give each plane the amplitudes; phases stay."""
        spectrum = torch.fft.rfft2(planes)
        own = self._over_rings(spectrum.abs())
        factor = self.amplitude / own.clamp_min(torch.finfo(own.dtype).tiny)
        factor[..., 0, 0] = 1
        matched: Tensor = torch.fft.irfft2(spectrum * factor, s=planes.shape[2:])
        return matched

    def across(self, planes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the part that changes amplitudes, in the direction of each phase."""
        spectrum = torch.fft.rfft2(planes)
        phase = spectrum / spectrum.abs().clamp_min(torch.finfo(planes.dtype).tiny)
        phase[..., 0, 0] = 0

        def project(vectors: Tensor) -> Tensor:
            along = self._over_rings((torch.fft.rfft2(vectors) * phase.conj()).real)
            part: Tensor = torch.fft.irfft2(along * phase, s=vectors.shape[2:])
            return part

        return project

    def _over_rings(self, values: Tensor) -> Tensor:
        if self.rings is None:
            return values.clone()
        ring = self.rings.flatten()
        totals = values.new_zeros((*values.shape[:2], int(values.shape[2] + values.shape[3])))
        numbers = totals.new_zeros(totals.shape[2]).index_add(0, ring, self.number.flatten())
        totals = totals.index_add(2, ring, (values * self.number).flatten(2))
        return (totals / numbers.clamp_min(1))[..., self.rings]


def join(surfaces: Sequence[Surface], like: Tensor) -> Surface:
    """Return the surface of a batch of images like `like`, each on its own surface of one kind."""
    tensors = {name: value for name, value in vars(surfaces[0]).items() if isinstance(value, Tensor)}
    shared = {name: tensors[name].to(like.device) for name in ("number", "rings") if name in tensors}
    if "number" in shared:
        shared["number"] = shared["number"].to(like.dtype)
    batched = {
        name: torch.cat([getattr(surface, name) for surface in surfaces]).to(like)
        for name in tensors.keys() - shared.keys()
    }
    return replace(surfaces[0], **batched, **shared)  # type: ignore[type-var]
