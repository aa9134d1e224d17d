"""From images to feature maps: the forward pass, and filters with a mean activation of 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import __version__ as pillow_version
from torch import Tensor
from torch.autograd.function import once_differentiable

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool
from stimgen.networks.kept import Arrays, arrays_sha256, kept
from stimgen.networks.photographs import PHOTOGRAPH_PX, PHOTOGRAPHS, photographs
from stimgen.networks.weights import Weights

Pooling = Literal["average", "max"]
Padding = Literal["zeros", "mirrored"]

Statistic: TypeAlias = Callable[[Tensor], Tensor]
"""A function of feature maps (batch, channel, height, width), for example their Gram matrices."""

PIECE = 2**18
"""Numbers of a gradient that are converted at once on a CPU, so that it takes no memory."""

BAND = 2**22
"""Numbers of one image's maps that are mirrored at once: 16 MB, which the C library hands out again."""

NEAR = 2.0
"""A mean activation between 1 / NEAR and NEAR counts as near 1."""

LEAST_SHARE = 0.55
"""Weights count as normalised if at least this share of their filters has a mean activation near 1.

It lies half-way between what was measured for VGG-16 normalised on other photographs (0.70 and more) and for
networks without normalisation (0.43 and less): ``python -m benchmarks.normalised``.
"""


def whole(maps: Tensor) -> Tensor:
    """Return feature maps as they are."""
    return maps


def build_extractor(
    weights: Weights,
    *,
    pooling: Pooling = "average",
    padding: Padding = "zeros",
    normalise: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    deepest: str | None = None,
) -> FeatureExtractor:
    """Return the feature extractor of the network that `weights` belong to, up to the layer `deepest`.

    The pooling is "average", as in Gatys, Ecker & Bethge (2015), or "max", as the network was trained. Beyond
    the border of their maps, convolutions see "zeros", as the network was trained, or maps "mirrored". With
    `normalise`, every filter is scaled to a mean activation of 1 (see `normalise_activations`), measured on
    the CPU in float32 with zeros, so that all devices, precisions and paddings work with the same network.
    Weights that are normalised already are used as they are. `dtype` is the precision of the convolutions.
    """
    if pooling not in get_args(Pooling):
        raise InputError(f'Unknown pooling "{pooling}".', nearest(pooling, get_args(Pooling)))
    if padding not in get_args(Padding):
        raise InputError(f'Unknown padding "{padding}".', nearest(padding, get_args(Padding)))
    architecture = NETWORKS[weights.network]()
    if deepest is not None:
        architecture = replace(architecture, steps=architecture.upto(deepest))
    count = len(architecture.convolutions)
    convention = weights.convention
    std = torch.tensor(convention.std, dtype=torch.float64).view(1, 3, 1, 1)
    mean = torch.tensor(convention.mean, dtype=torch.float64).view(1, 3, 1, 1)
    extractor = FeatureExtractor(
        architecture=architecture,
        pooling=pooling,
        kernels=tuple(kernel.detach() for kernel in weights.kernels[:count]),
        biases=tuple(bias.detach() for bias in weights.biases[:count]),
        gain=(convention.scale / std).float(),
        shift=(-mean / std).float(),
    ).to("cpu", torch.float32)
    if normalise and not weights.normalised:
        extractor = normalise_activations(extractor)
    return replace(extractor, padding=padding).to(device, dtype)


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A network with frozen weights, possibly cut off after the deepest layer that is needed.

    `kernels` and `biases` are tensors (out channel, in channel, height, width), channels last in memory, and
    (out channel,). The input is normalised as gain · image + shift, with float32 tensors (1, 3, 1, 1).
    """

    architecture: Architecture
    pooling: Pooling
    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    gain: Tensor
    shift: Tensor
    padding: Padding = "zeros"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gain.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the convolutions and of the features."""
        return self.kernels[0].dtype

    @property
    def identity(self) -> tuple[object, ...]:
        """All that features of images depend on beside the device, with a `repr` that says it."""
        tensors = arrays_sha256((*self.kernels, *self.biases, self.gain, self.shift))
        return self.architecture.steps, self.pooling, self.padding, tensors

    def features(
        self, images: Tensor, layers: Sequence[str], statistic: Statistic = whole
    ) -> dict[str, Tensor]:
        """Return the feature maps of `layers`, or a statistic of them, by layer, shallowest first.

        `images` are RGB (batch, 3, height, width), 0..1 but not clipped; float32 or better, on `device`. The
        `statistic` is a function of the maps (batch, channel, height, width) of one layer, in `dtype`, after
        the ReLU of a convolution; it must not change them. It is called as soon as they are computed, so that
        they and their gradients can be freed early.
        """
        deepest = self.architecture.deepest(layers)
        smallest = self.architecture.smallest_px(deepest)
        if min(images.shape[2:]) < smallest:
            raise InputError(
                f"Images of {images.shape[2]} x {images.shape[3]} px are too small for layer {deepest}.",
                f"Use at least {smallest} px on either side, or shallower layers.",
            )
        found: dict[str, Tensor] = {}
        # Normalised in float32 before any rounding to bfloat16: the mean is large against fine contrasts.
        maps = (self.gain * images + self.shift).to(self.dtype, memory_format=torch.channels_last)
        parameters = zip(self.kernels, self.biases, strict=True)
        for step in self.architecture.upto(deepest):
            if isinstance(step, Convolution):
                maps = _Convolution.apply(maps, *next(parameters), step, self.padding == "mirrored")
            else:
                maps = _Pooling.apply(maps, step, self.pooling)
            if step.name in layers:
                found[step.name] = statistic(_Apart.apply(maps))
        return found

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> FeatureExtractor:
        """Return a copy on `device` with convolutions in `dtype`; the input is normalised in float32."""
        device = self.device if device is None else torch.device(device)
        dtype = self.dtype if dtype is None else dtype
        input_dtype = torch.promote_types(dtype, torch.float32)
        return replace(
            self,
            kernels=tuple(k.to(device, dtype, memory_format=torch.channels_last) for k in self.kernels),
            biases=tuple(b.to(device, dtype) for b in self.biases),
            gain=self.gain.to(device, input_dtype),
            shift=self.shift.to(device, input_dtype),
        )


class _Apart(torch.autograd.Function):
    """Maps for others, whose gradient may not be written to."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()


class _Convolution(torch.autograd.Function):
    """A convolution and its ReLU; for the gradient it keeps a byte for each number, not maps.

    Beyond the border it sees zeros, or with `mirrored` the maps. Large maps are mirrored in bands of rows, so
    that they are never there twice.
    """

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, kernel: Tensor, bias: Tensor, step: Convolution, mirrored: bool
    ) -> Tensor:
        bands, zeros = _bands(maps.shape, step, mirrored), 0 if mirrored else step.padding

        def convolved(band: _Band) -> Tensor:
            rows = maps[:, :, band.rows]
            rows = F.pad(rows, band.mirrored, mode="reflect") if any(band.mirrored) else rows
            return F.conv2d(rows, kernel, bias, step.stride, zeros)

        found = convolved(bands[0])
        if len(bands) > 1:
            shape = (*found.shape[:2], bands[-1].convolved.stop, found.shape[3])
            first, found = found, _like(maps, shape)
            found[:, :, bands[0].convolved] = first
            for band in bands[1:]:
                found[:, :, band.convolved] = convolved(band)
        found.relu_()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(kernel, found.bool().view(torch.uint8))
            ctx.shape, ctx.bands, ctx.sides = maps.shape, bands, ([step.stride] * 2, [zeros] * 2)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (kernel, positive), (stride, zeros) = ctx.saved_tensors, ctx.sides
        # In place: it comes from the next layer or from `_Apart`, so that nobody else has this gradient.
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        size = PIECE if gradient.device.type == "cpu" else gradient.numel()
        pieces = (maps.permute(0, 2, 3, 1).reshape(-1).split(size) for maps in (gradient, positive))
        for piece, factors in zip(*pieces, strict=True):
            torch.ops.aten.threshold_backward.grad_input(piece, factors, 0, grad_input=piece)

        def of_maps(band: _Band) -> Tensor:
            left, right, top, bottom = band.mirrored
            height, width = len(range(ctx.shape[2])[band.rows]), ctx.shape[3]
            padded = (*ctx.shape[:2], height + top + bottom, width + left + right)
            of_band = gradient[:, :, band.convolved].contiguous(memory_format=torch.channels_last)
            found: Tensor = torch.ops.aten.convolution_backward(
                *(of_band, _shaped(of_band, padded), kernel, None, stride, zeros, [1, 1], False, [0, 0], 1),
                [True, False, False],
            )[0]
            if any(band.mirrored):
                like = _shaped(of_band, (*ctx.shape[:2], height, width))
                found = torch.ops.aten.reflection_pad2d_backward(found, like, list(band.mirrored))
            return found

        if len(ctx.bands) == 1:
            return of_maps(ctx.bands[0]), None, None, None, None
        found = _like(gradient, ctx.shape).zero_()
        for band in ctx.bands:
            found[:, :, band.rows] += of_maps(band)
        return found, None, None, None, None


class _Band(NamedTuple):
    """Rows of maps, how far they are mirrored (left, right, top, bottom), and the rows they convolve to."""

    rows: slice
    mirrored: tuple[int, int, int, int]
    convolved: slice


def _bands(shape: torch.Size, step: Convolution, mirrored: bool) -> list[_Band]:
    """Return the bands in which maps are mirrored; for zeros and for small maps one with all rows."""
    width, height = step.padding if mirrored else 0, shape[2]
    count = ceil(shape[1:].numel() / BAND)
    # A window that lies beyond the border as a whole needs other rows than its own.
    if count == 1 or not 0 < width < step.kernel:
        return [_Band(slice(None), (width,) * 4, slice(None))]
    rows = (height + 2 * width - step.kernel) // step.stride + 1
    at_once, bands = ceil(rows / count), []
    for start in range(0, rows, at_once):
        stop = min(start + at_once, rows)
        first, last = start * step.stride - width, (stop - 1) * step.stride - width + step.kernel
        beyond = width, width, max(0, -first), max(0, last - height)
        bands.append(_Band(slice(max(0, first), min(last, height)), beyond, slice(start, stop)))
    return bands


class _Pooling(torch.autograd.Function):
    """A pooling; for the gradient it keeps the places of its maxima, and nothing for means."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, step: Pool, pooling: Pooling) -> Tensor:
        ctx.shape, ctx.sides = maps.shape, ([step.kernel] * 2, [step.stride] * 2, [0, 0])
        if pooling == "average":
            return F.avg_pool2d(maps, step.kernel, step.stride)
        found, places = F.max_pool2d(maps, step.kernel, step.stride, return_indices=True)
        ctx.save_for_backward(places)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        arguments = gradient, _shaped(gradient, ctx.shape), *ctx.sides
        if places := ctx.saved_tensors:
            found = torch.ops.aten.max_pool2d_with_indices_backward(*arguments, [1, 1], False, *places)
        else:
            found = torch.ops.aten.avg_pool2d_backward(*arguments, False, True, None)
        return found, None, None


def _like(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Return maps of a shape to be written."""
    memory = torch.channels_last
    return torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=memory)


def _shaped(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Return maps for functions that look at their shape and memory format, and not at the numbers."""
    return maps if maps.shape == tuple(shape) else _like(maps, shape)


def normalise_activations(extractor: FeatureExtractor) -> FeatureExtractor:
    """Return the extractor with every filter's mean activation over photographs and positions equal to 1.

    With s_l the mean activation of each filter of convolution l, the kernel becomes
    W_l[i, j] · s_(l-1)[j] / s_l[i] and the bias b_l[i] / s_l[i] (Gatys, Ecker & Bethge 2015, section 2).
    Since ReLU and both poolings commute with positive factors per channel, each feature map is the original
    one divided by its s, and all means come from one pass through the original network, or from the cache of
    an earlier one. A filter that is never active keeps its scale.
    """
    return rescale_channels(extractor, known_activations(extractor))


def known_activations(extractor: FeatureExtractor) -> tuple[Tensor, ...]:
    """Return `mean_activations` over the photographs, which are kept in the cache folder."""
    names = [step.name for step in extractor.architecture.convolutions]
    depends_on = PHOTOGRAPHS, PHOTOGRAPH_PX, pillow_version, extractor.identity

    def measure() -> Arrays:
        return {name: means.numpy() for name, means in zip(names, mean_activations(extractor), strict=True)}

    means = kept("activations", depends_on, extractor.device, measure)
    return tuple(torch.tensor(means[name]) for name in names)


def mean_activations(
    extractor: FeatureExtractor, images: Sequence[NDArray[np.float32]] | None = None
) -> tuple[Tensor, ...]:
    """Return the mean activation of every filter over images and all positions.

    `images` are RGB (H, W, 3), 0..1, of one size; by default the photographs. The result is one float64
    tensor (channel,) per convolution, shallowest first.
    """
    layers = [step.name for step in extractor.architecture.convolutions]
    sums = [torch.zeros(len(bias), dtype=torch.float64, device=extractor.device) for bias in extractor.biases]
    images = list(photographs()) if images is None else images
    with torch.inference_mode():
        for pixels in images:
            image = torch.from_numpy(pixels).to(extractor.device).permute(2, 0, 1)[None]
            for total, maps in zip(sums, extractor.features(image, layers).values(), strict=True):
                # One photograph at a time: all layers of all of them would need gigabytes.
                total += maps.mean((0, 2, 3))
    return tuple(total / len(images) for total in sums)


def rescale_channels(extractor: FeatureExtractor, scales: Sequence[Tensor]) -> FeatureExtractor:
    """Return a copy of the extractor whose feature maps are the original ones divided by `scales`.

    `scales` are one tensor (channel,) >= 0 per convolution; 0 leaves a channel unchanged.
    """
    kernels, biases = [], []
    incoming = torch.ones(3, dtype=torch.float64, device=extractor.device)
    for kernel, bias, scale in zip(extractor.kernels, extractor.biases, scales, strict=True):
        outgoing = torch.where(scale > 0, scale.double(), 1.0)
        factors = (incoming[None, :] / outgoing[:, None]).to(kernel.dtype)
        kernels.append(kernel * factors[:, :, None, None])
        biases.append(bias / outgoing.to(bias.dtype))
        incoming = outgoing
    return replace(extractor, kernels=tuple(kernels), biases=tuple(biases))


def share_near_one(weights: Weights) -> float:
    """Return the share of filters with a mean activation near 1, averaged over the convolutions.

    Published filters were normalised on other images, so that their means scatter around 1.
    """
    means = mean_activations(build_extractor(weights, pooling="average", normalise=False))
    shares = [(layer.log().abs() <= log(NEAR)).double().mean().item() for layer in means]
    return sum(shares) / len(shares)
