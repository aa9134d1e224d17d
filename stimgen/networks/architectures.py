"""Networks: layers, published weights, input conventions, memory. PyTorch is not imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, TypeAlias

from stimgen.errors import InputError, nearest
from stimgen.references import Reference
from stimgen.registry import Registry


@dataclass(frozen=True)
class Convolution:
    """A square convolution with zero padding and a bias; as a feature, the activation after its ReLU."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights, (output channels, input channels, height, width)."""
        return (self.out_channels, self.in_channels, self.kernel, self.kernel)


@dataclass(frozen=True)
class Pool:
    """A square pooling window without padding; an incomplete window at the far edge is dropped."""

    name: str
    kernel: int = 2
    stride: int = 2
    padding: ClassVar[int] = 0


Step: TypeAlias = Convolution | Pool


Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputConvention:
    """The input that a network with certain weights expects.

    For an RGB image in 0..1, channel c of the input is ``(scale * image_c - mean_c) / std_c``; `channels` is
    the order of the channels, also in `mean` and `std`.
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


CONVENTIONS: dict[str, InputConvention] = {
    convention.name: convention
    for convention in (
        InputConvention("torchvision", "rgb", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        InputConvention("caffe-rgb", "rgb", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
        InputConvention("caffe-bgr", "bgr", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    )
}
"""Input conventions by name. The caffe mean is that of the Oxford networks (Simonyan & Zisserman 2015)."""


@dataclass(frozen=True)
class PackagedWeights:
    """A Python package that carries published weights in `file`, a path below `module`.

    `sha256` and `convention` are those of the file, and `install` is the command that installs the package.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    convention: str
    install: str


@dataclass(frozen=True)
class PublishedWeights:
    """Weights of a network that can be downloaded.

    `source` is an address, or the name of weights of TorchVision, such as "VGG19_Weights.IMAGENET1K_V1";
    `sha256` that of the file, or its first digits if no more are published; `convention` a name in
    `CONVENTIONS`. `tensors_sha256` is given if it is known, and `package` if one carries the same weights.
    """

    name: str
    source: str
    sha256: str
    convention: str
    licence: str
    citation: str
    tensors_sha256: str | None = None
    package: PackagedWeights | None = None

    @property
    def url(self) -> str:
        """Address of the file. TorchVision, which is slow to import, knows where its weights are."""
        if ":" in self.source:
            return self.source
        from torchvision.models import get_weight

        return str(get_weight(self.source).url)


def torchvision_weights(name: str, source: str, sha256: str, architecture: str) -> PublishedWeights:
    """Return the entry for weights of TorchVision; `architecture` is a citation."""
    return PublishedWeights(
        name=name,
        source=source,
        sha256=sha256,
        convention="torchvision",
        licence="BSD-3-Clause",
        citation="TorchVision maintainers and contributors (2016). TorchVision: PyTorch's computer vision "
        f"library. Architecture: {architecture}",
    )


@dataclass(frozen=True)
class Architecture:
    """A chain of convolutions and pools from an RGB image to its deepest layer, and its published weights.

    `reference` is the publication to cite (a sentence if there is no BibTeX entry for it), and `title` the
    name in publications. `default_layers` are measured if none are named: those of the published layer set
    if there is one. The first of the published `weights` are used if a manifest names none. Methods raise
    `InputError` if a layer is unknown, no layer is given, or an image is too small for the deepest layer.
    """

    name: str
    steps: tuple[Step, ...]
    reference: Reference | str
    default_layers: tuple[str, ...]
    title: str = ""
    weights: tuple[PublishedWeights, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, shallowest first."""
        return tuple(step.name for step in self.steps)

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions, shallowest first."""
        return tuple(step for step in self.steps if isinstance(step, Convolution))

    def expand(self, named: Iterable[str]) -> tuple[str, ...]:
        """Return layers in the order of the forward pass, ranges such as "conv1_1..pool4" written out."""
        found = [layer for entry in named for layer in self.range_of(entry)]
        if twice := [layer for layer in self.layers if found.count(layer) > 1]:
            raise InputError(f"{twice[0]} is given twice.", "Name each layer once.")
        return tuple(layer for layer in self.layers if layer in found)

    def range_of(self, entry: str) -> tuple[str, ...]:
        """Return the layers that "LAYER" or "FIRST..LAST" names."""
        ends = entry.split("..") if ".." in entry else [entry, entry]
        if len(ends) != 2:
            raise InputError(f'"{entry}" names no layers of {self.name}.', "A range is FIRST..LAST.")
        first, last = (self._index(end) for end in ends)
        if last < first:
            raise InputError(f"{entry} runs backwards.", f"Write {ends[1]}..{ends[0]}.")
        return self.layers[first : last + 1]

    def upto(self, layer: str) -> tuple[Step, ...]:
        """Return the steps from the image to `layer`, inclusive."""
        return self.steps[: self._index(layer) + 1]

    def deepest(self, layers: Iterable[str]) -> str:
        """Return the deepest of `layers`, where a forward pass for all of them can stop."""
        indices = [self._index(layer) for layer in layers]
        if not indices:
            raise InputError(f"No layer of {self.name} was asked for.", f"Known: {', '.join(self.layers)}.")
        return self.layers[max(indices)]

    def channels(self, layer: str) -> int:
        """Return the number N of feature maps of `layer`."""
        return next(s.out_channels for s in reversed(self.upto(layer)) if isinstance(s, Convolution))

    def stride(self, layer: str) -> int:
        """Return how many image pixels lie between neighbouring positions of `layer`, along each axis."""
        return prod(step.stride for step in self.upto(layer))

    def receptive_field(self, layer: str) -> int:
        """Return the side of the square of image pixels that one position of `layer` sees."""
        field, stride = 1, 1
        for step in self.upto(layer):
            field += (step.kernel - 1) * stride
            stride *= step.stride
        return field

    def smallest_px(self, layer: str) -> int:
        """Return the side of the smallest image in which `layer` has a position, and maps can be mirrored."""
        side = 1
        for step in reversed(self.upto(layer)):
            side = max((side - 1) * step.stride + step.kernel - 2 * step.padding, step.padding + 1)
        return side

    def forward_flops(self, layers: Iterable[str], size_px: int) -> float:
        """Return the floating-point operations of one forward pass of one square image of `size_px`.

        Counted are the convolutions up to the deepest layer, 2·k²·C_in·C_out·M, and the Gram matrices of
        `layers`, 2·N²·M, with M the number of positions. The rest is less than 1 %. The backward pass to the
        image costs about as much again.
        """
        wanted = set(layers)
        flops = 0.0
        for step, channels, side in self.maps(wanted, size_px):
            if isinstance(step, Convolution):
                flops += 2.0 * step.kernel**2 * step.in_channels * step.out_channels * side**2
            if step.name in wanted:
                flops += 2.0 * channels**2 * side**2
        return flops

    def activation_floats(self, layers: Iterable[str], size_px: int) -> int:
        """Return how many numbers a forward pass of one square image computes.

        These are the normalised image and the output of every step; a ReLU works in place.
        """
        image = self.convolutions[0].in_channels * size_px**2
        return image + sum(channels * side**2 for _, channels, side in self.maps(set(layers), size_px))

    def maps(self, layers: Iterable[str], size_px: int) -> Iterator[tuple[Step, int, int]]:
        """Yield every step up to the deepest of `layers` with its channels and the side of its maps."""
        deepest = self.deepest(layers)
        if size_px < self.smallest_px(deepest):
            raise InputError(
                f"An image of {size_px} px is too small for layer {deepest} of {self.name}.",
                f"Use at least {self.smallest_px(deepest)} px, or shallower layers.",
            )
        channels, side = self.convolutions[0].in_channels, size_px
        for step in self.upto(deepest):
            channels = step.out_channels if isinstance(step, Convolution) else channels
            side = (side + 2 * step.padding - step.kernel) // step.stride + 1
            yield step, channels, side

    def _index(self, layer: str) -> int:
        if layer not in self.layers:
            raise InputError(f'{self.name} has no layer "{layer}".', nearest(layer, self.layers))
        return self.layers.index(layer)


NETWORKS: Registry[Callable[[], Architecture]] = Registry("network", "stimgen.networks.definitions")
"""Network names and the functions that return their architecture: ``NETWORKS["vgg16"]()``."""

register_network = NETWORKS.register

LARGEST_SEED = 2**32 - 1
"""Of random weights."""


def random_seed(name: str) -> int | None:
    """Return the seed of the weights "random" (0) or "random:SEED"; None for any other name."""
    form = re.fullmatch(r"random(?::([0-9]{1,10}))?", name)
    seed = int(form[1] or 0) if form else LARGEST_SEED + 1
    return seed if seed <= LARGEST_SEED else None


def published_weights(network: str, name: str) -> PublishedWeights | None:
    """Return the published weights `name` of `network`, or None if there are none."""
    weights = NETWORKS[network]().weights if network in NETWORKS else ()
    return next((entry for entry in weights if entry.name == name), None)


def weights_names(network: str) -> tuple[str, ...]:
    """Return the names of the weights published for `network`, the default one first."""
    return tuple(entry.name for entry in NETWORKS[network]().weights) if network in NETWORKS else ()


INDEX_BYTES, MASK_BYTES, GRAM_BYTES = 8, 1, 4


def evaluation_bytes(
    architecture: Architecture,
    layers: Collection[str],
    size_px: int,
    *,
    pooling: str = "average",
    item_bytes: int = 4,
) -> int:
    """Return the peak memory of the maps and gradients of one evaluation for one image.

    The forward pass keeps a byte for each number of a convolution, the indices of the maxima of a max pool,
    and for a Gram matrix its maps in float32. The backward pass frees them from the deepest on; each step
    takes the gradient that comes in, the one that goes out, and as much again for what is mirrored.

    `layers` are those of the objective, and `item_bytes` is the size of one activation.
    """
    kept = peak = 0
    for step, channels, side in architecture.maps(layers, size_px):
        items = channels * side**2
        if isinstance(step, Convolution):
            kept += MASK_BYTES * items
        elif pooling == "max":
            kept += INDEX_BYTES * items
        if step.name in layers:
            kept += GRAM_BYTES * items
        peak = max(peak, kept + 3 * item_bytes * items)
    return peak
