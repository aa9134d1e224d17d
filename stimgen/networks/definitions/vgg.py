"""The VGG networks without their classifier."""

from __future__ import annotations

from stimgen.networks.architectures import Architecture, Convolution, Pool, Step, register_network

_GATYS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
"""The layer set of the textures with 177k parameters in Gatys, Ecker & Bethge (2015), figure 3A."""

_CHANNELS = (64, 128, 256, 512, 512)
_REFERENCE = (
    "Simonyan, K. & Zisserman, A. (2015). Very deep convolutional networks for large-scale image "
    "recognition. International Conference on Learning Representations. arXiv:1409.1556"
)


def _vgg(name: str, depths: tuple[int, ...]) -> Architecture:
    """Return the VGG with ``depths[b]`` convolutions in block b (Simonyan & Zisserman 2015, table 1)."""
    steps: list[Step] = []
    in_channels = 3
    for block, (depth, out_channels) in enumerate(zip(depths, _CHANNELS, strict=True), start=1):
        for number in range(1, depth + 1):
            steps.append(Convolution(f"conv{block}_{number}", in_channels, out_channels))
            in_channels = out_channels
        steps.append(Pool(f"pool{block}"))
    return Architecture(name, tuple(steps), _REFERENCE, _GATYS)


@register_network("vgg16")
def vgg16() -> Architecture:
    """Return VGG-16: conv1_1 to conv5_3, thirteen convolutions in five blocks."""
    return _vgg("vgg16", (2, 2, 3, 3, 3))


@register_network("vgg19")
def vgg19() -> Architecture:
    """Return VGG-19: conv1_1 to conv5_4, sixteen convolutions in five blocks."""
    return _vgg("vgg19", (2, 2, 4, 4, 4))
