"""Which layers take part at which scale of a coarse-to-fine synthesis (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from stimgen.networks.architectures import Architecture


def layers_at(
    architecture: Architecture, layers: Iterable[str], size_px: int, full_px: int
) -> tuple[str, ...]:
    """Return the layers of a layer set that are matched when the image is shrunk to `size_px`.

    In an image shrunk by a factor s a layer sees structure s times as large. Matching all layers there
    would constrain more than the layer set does: conv1_1 at a quarter of the size knows about bricks.
    So a layer takes part only while its receptive field, counted in pixels of the full size, is not larger
    than the largest receptive field of the layer set. At full size all layers take part.

    Parameters
    ----------
    architecture
        The network.
    layers
        The layer set.
    size_px, full_px
        Side of the image at this scale, and of the stimulus.

    Returns
    -------
    tuple of str
        Shallowest first; may be empty at coarse scales.

    Examples
    --------
    >>> from stimgen.networks.architectures import NETWORKS
    >>> vgg16 = NETWORKS["vgg16"]()
    >>> layers_at(vgg16, ["conv1_1", "pool1", "pool2"], 128, 256)
    ('conv1_1', 'pool1')
    >>> layers_at(vgg16, ["conv1_1"], 128, 256)
    ()
    """
    wanted = set(layers)
    largest = max(architecture.receptive_field(layer) for layer in wanted)
    return tuple(
        layer
        for layer in architecture.layers
        if layer in wanted and architecture.receptive_field(layer) * full_px <= largest * size_px
    )
