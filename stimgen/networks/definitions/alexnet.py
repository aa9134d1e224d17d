"""AlexNet without its classifier."""

from __future__ import annotations

from stimgen.networks.architectures import (
    Architecture,
    Convolution,
    Pool,
    register_network,
    torchvision_weights,
)
from stimgen.references import Reference

KRIZHEVSKY_2014 = Reference(
    "krizhevsky2014",
    "Krizhevsky, A.",
    2014,
    "One weird trick for parallelizing convolutional neural networks",
    "arXiv:1404.5997",
)


@register_network("alexnet")
def alexnet() -> Architecture:
    """Return AlexNet: conv1 to conv5, with pools of 3 × 3 and stride 2 after conv1, conv2 and conv5.

    This is TorchVision's variant, the counterpart of the Caffe reference network: no groups, no response
    normalisation, 64-192-384-256-256 channels. It was trained with max pooling. The default layers are a
    choice by analogy with VGG: conv4 sees about as much of the image as pool4 of VGG-19.
    """
    return Architecture(
        "alexnet",
        (
            Convolution("conv1", 3, 64, kernel=11, stride=4, padding=2),
            Pool("pool1", kernel=3),
            Convolution("conv2", 64, 192, kernel=5, padding=2),
            Pool("pool2", kernel=3),
            Convolution("conv3", 192, 384),
            Convolution("conv4", 384, 256),
            Convolution("conv5", 256, 256),
            Pool("pool5", kernel=3),
        ),
        reference=KRIZHEVSKY_2014,
        default_layers=("conv1", "pool1", "pool2", "conv3", "conv4"),
        title="AlexNet",
        weights=(
            torchvision_weights(
                "imagenet",
                "AlexNet_Weights.IMAGENET1K_V1",
                "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                "Krizhevsky, A. (2014). arXiv:1404.5997.",
            ),
        ),
    )
