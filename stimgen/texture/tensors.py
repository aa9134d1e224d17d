"""Images as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stimgen.images.pixels import Image


def to_batch(
    images: Sequence[Image], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Stack images (H, W) or (H, W, 3) of one shape to a batch (batch, 1 or 3, H, W)."""
    stack = np.stack(images).astype(np.float32)
    stack = stack[:, np.newaxis] if stack.ndim == 3 else np.moveaxis(stack, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(stack)).to(device, dtype)


def to_images(batch: Tensor) -> list[Image]:
    """Return a batch (batch, 1 or 3, H, W) as float32 images (H, W) or (H, W, 3)."""
    arrays = batch.detach().to("cpu", torch.float32).numpy()
    return [
        np.ascontiguousarray(array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, 2))
        for array in arrays
    ]


def to_rgb(batch: Tensor) -> Tensor:
    """Copy a luminance plane (batch, 1, H, W) to three channels; leave RGB as it is."""
    return batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch
