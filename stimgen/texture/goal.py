"""What a synthesis is to reach: Gram matrices at its scales, and the range of its pixel values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.objective import analyse
from stimgen.texture.tensors import to_batch


@dataclass(frozen=True, eq=False)
class PixelRange:
    """Mean and range of pixel values, by channel.

    Attributes
    ----------
    mean, lowest, highest
        Tensors of shape (1, 1 or 3, 1, 1) in the precision of the network's input, black 0 and white 1.
    """

    mean: Tensor
    lowest: Tensor
    highest: Tensor


class Goal(Protocol):
    """What a synthesis is to reach."""

    @property
    def size_px(self) -> int:
        """Side of the image whose statistics they are, px; of its shorter side if it is no square."""
        ...

    @property
    def halvings(self) -> int:
        """How often the image can be halved and still has Gram matrices here."""
        ...

    def pixels(self, extractor: FeatureExtractor) -> PixelRange:
        """Return the pixel values, on the device of the network."""
        ...

    def grams(self, extractor: FeatureExtractor, layers: Sequence[str], halvings: int) -> dict[str, Tensor]:
        """Return the Gram matrices of the image shrunk by ``2 ** halvings``, shape (1, channel, channel)."""
        ...


@dataclass(frozen=True, eq=False)
class SourceImage:
    """The statistics of an image at hand, taken when they are asked for.

    Attributes
    ----------
    image
        (H, W) for a grey stimulus or (H, W, 3) for RGB, values 0..1.
    """

    image: Image

    @property
    def size_px(self) -> int:
        """Shorter side of the image, px."""
        height, width = self.image.shape[:2]
        return int(min(height, width))

    @property
    def halvings(self) -> int:
        """How often the image can be halved until one pixel is left."""
        return self.size_px.bit_length() - 1

    def pixels(self, extractor: FeatureExtractor) -> PixelRange:
        """Return the pixel values, on the device of the network."""
        source = self._batch(extractor)
        return PixelRange(
            source.mean(dim=(2, 3), keepdim=True),
            source.amin(dim=(2, 3), keepdim=True),
            source.amax(dim=(2, 3), keepdim=True),
        )

    def grams(self, extractor: FeatureExtractor, layers: Sequence[str], halvings: int) -> dict[str, Tensor]:
        """Return the Gram matrices of the image averaged down by ``2 ** halvings``."""
        source = self._batch(extractor)
        sides = [side >> halvings for side in source.shape[2:]]
        return analyse(extractor, F.interpolate(source, size=sides, mode="area"), layers)

    def _batch(self, extractor: FeatureExtractor) -> Tensor:
        return to_batch([self.image], extractor.device, extractor.gain.dtype)
