"""Memory that the loss and the gradient of one image take. PyTorch is not imported."""

from __future__ import annotations

from collections.abc import Collection

from stimgen.networks.architectures import Architecture, Pool

RECOMPUTE_ABOVE_BYTES = 8_000_000_000
"""Above this size, the activations of one image are computed again in the backward pass and not kept.

An evaluation then takes half as long again and 15 to 30 % less memory. With VGG-16 up to pool4, this applies
to images above 2600 px. Results are the same to the last bit, so this number may change at any time.
"""

INDEX_BYTES = 8


def recomputes(architecture: Architecture, layers: Collection[str], size_px: int, item_bytes: int) -> bool:
    """Return whether the backward pass computes the activations inside each block again.

    `item_bytes` is the size of one activation: 4 for float32, 2 for bfloat16.
    """
    return item_bytes * architecture.activation_floats(layers, size_px) > RECOMPUTE_ABOVE_BYTES


def evaluation_bytes(
    architecture: Architecture,
    layers: Collection[str],
    size_px: int,
    *,
    pooling: str = "average",
    item_bytes: int = 4,
) -> int:
    """Return the peak memory of the activations and gradients of one evaluation for one image.

    The forward pass keeps the normalised image and the maps of each step. A max pool also keeps the indices
    of its maxima, and a Gram matrix its maps in float32. The backward pass frees them from the deepest on;
    each step needs the gradient that comes in and the one that goes out. With recomputation only the maps of
    pools are kept, and those inside a block exist while the backward pass is in it.

    `layers` are those of the objective, and `item_bytes` is the size of one activation.
    """
    again = recomputes(architecture, layers, size_px, item_bytes)
    before = item_bytes * architecture.convolutions[0].in_channels * size_px**2
    block = peak = 0
    for step, channels, side in architecture.maps(layers, size_px):
        items = channels * side**2
        block += items * item_bytes
        if isinstance(step, Pool) and pooling == "max":
            block += items * INDEX_BYTES
        if step.name in layers and item_bytes < 4:
            block += items * 4
        peak = max(peak, before + block + 2 * items * item_bytes)
        if isinstance(step, Pool) and again:
            before, block = before + items * item_bytes, 0
    return peak
