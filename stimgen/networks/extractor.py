"""From images to feature maps: the forward pass, and filters with a mean activation of 1."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt, log
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import __version__ as pillow_version
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.grad import conv2d_input
from torch.utils.checkpoint import checkpoint

from stimgen.atomic import write_file
from stimgen.errors import InputError, StimgenError, nearest
from stimgen.images.read import skimage_file
from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool, recomputes
from stimgen.networks.weights import Weights
from stimgen.networks.weights.cache import cache_folder

Pooling = Literal["average", "max"]
Padding = Literal["zeros", "mirrored"]

Statistic: TypeAlias = Callable[[Tensor], Tensor]
"""A function of feature maps (batch, channel, height, width), for example their Gram matrices."""

Block: TypeAlias = list[tuple[str, Callable[[Tensor], Tensor]]]
"""Names and functions of the steps after one pool up to and including the next."""

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

    def features(
        self, images: Tensor, layers: Sequence[str], statistic: Statistic = whole
    ) -> dict[str, Tensor]:
        """Return the feature maps of `layers`, or a statistic of them, by layer, shallowest first.

        `images` are RGB (batch, 3, height, width), 0..1 but not clipped; float32 or better, on `device`. The
        `statistic` is a function of the maps (batch, channel, height, width) of one layer, in `dtype`, after
        the ReLU of a convolution; it must not change them. It is called as soon as they are computed, so that
        they and their gradients can be freed early.

        For large images (`recomputes`), the backward pass computes the maps inside each block (from pool to
        pool) again, which takes more time and less memory. Values and gradients are the same to the last bit.
        """
        deepest = self.architecture.deepest(layers)
        smallest = self.architecture.smallest_px(deepest)
        if min(images.shape[2:]) < smallest:
            raise InputError(
                f"Images of {images.shape[2]} x {images.shape[3]} px are too small for layer {deepest}.",
                f"Use at least {smallest} px on either side, or shallower layers.",
            )
        side = isqrt(images.shape[2] * images.shape[3])
        again = torch.is_grad_enabled() and images.requires_grad
        again = again and recomputes(self.architecture, layers, side, self.dtype.itemsize)

        def forward(maps: Tensor, block: Block) -> tuple[Tensor, dict[str, Tensor]]:
            found = {}
            for name, step in block:
                maps = step(maps)
                if name in layers:
                    found[name] = statistic(maps)
            return maps, found

        run = (
            partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False) if again else forward
        )
        found: dict[str, Tensor] = {}
        # Normalised in float32 before any rounding to bfloat16: the mean is large against fine contrasts.
        maps = (self.gain * images + self.shift).to(self.dtype, memory_format=torch.channels_last)
        for block in self._blocks(deepest):
            maps, of_block = run(maps, block)
            found |= of_block
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

    def _blocks(self, deepest: str) -> Iterator[Block]:
        pool = F.avg_pool2d if self.pooling == "average" else F.max_pool2d
        parameters = zip(self.kernels, self.biases, strict=True)
        block: Block = []
        for step in self.architecture.upto(deepest):
            if isinstance(step, Convolution):
                block.append((step.name, partial(_convolve, step, *next(parameters), self.padding)))
            else:
                block.append((step.name, partial(pool, kernel_size=step.kernel, stride=step.stride)))
            if isinstance(step, Pool) or step.name == deepest:
                yield block
                block = []


def _convolve(step: Convolution, kernel: Tensor, bias: Tensor, padding: Padding, maps: Tensor) -> Tensor:
    if padding == "mirrored" and step.padding:
        convolved: Tensor = _MirroredConvolution.apply(maps, kernel, bias, step.stride, step.padding)
        return convolved.relu_()
    return F.conv2d(maps, kernel, bias, step.stride, step.padding).relu_()


class _MirroredConvolution(torch.autograd.Function):
    """A convolution of maps that are mirrored at their border; it keeps no padded maps for the gradient."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Tensor, bias: Tensor, stride: int, width: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.shape, ctx.stride, ctx.width = maps.shape, stride, width
        return F.conv2d(F.pad(maps, (width,) * 4, mode="reflect"), kernel, bias, stride)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kernel,), width = ctx.saved_tensors, ctx.width
        batch, channels, height, length = ctx.shape
        padded = (batch, channels, height + 2 * width, length + 2 * width)
        to_padded = conv2d_input(padded, kernel, gradient, ctx.stride)  # type: ignore[no-untyped-call]
        # Only shape and memory format are looked at.
        like = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )
        folded = torch.ops.aten.reflection_pad2d_backward(to_padded, like, [width] * 4)
        return folded, None, None, None, None


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
    """Return `mean_activations` over the photographs, which are kept in the cache folder.

    The name of the file is the SHA-256 of all that they depend on: the network, the photographs, the software
    and the processor. So they are the same to the last bit as if they were measured anew. A damaged file is
    replaced, and where none can be written they are measured each time.
    """
    path = cache_folder() / "activations" / f"{_activations_key(extractor)}.safetensors"
    names = [step.name for step in extractor.architecture.convolutions]
    with suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
        means = tuple(file.get_tensor(name) for name in names)
        if (file.metadata() or {}).get("sha256") == _tensors_sha256(means):
            return means
    means = mean_activations(extractor)
    content = save(dict(zip(names, means, strict=True)), metadata={"sha256": _tensors_sha256(means)})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    return means


def _activations_key(extractor: FeatureExtractor) -> str:
    tensors = (*extractor.kernels, *extractor.biases, extractor.gain, extractor.shift)
    images = PHOTOGRAPHS, PHOTOGRAPH_PX, pillow_version
    arithmetic = torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    parts = extractor.architecture.steps, extractor.pooling, _tensors_sha256(tensors), images, arithmetic
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _tensors_sha256(tensors: Iterable[Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(np.ascontiguousarray(tensor.numpy()).data)
    return total.hexdigest()


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


PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
"""Files of natural photographs in scikit-image's wheel, and their SHA-256: a person in front of flags and a
model, a photographer on grass, a cat, a table, a motorcycle in a workshop, a rocket at dusk."""

PHOTOGRAPH_PX = 256


def photographs() -> Iterator[NDArray[np.float32]]:
    """Yield the photographs of `PHOTOGRAPHS` as RGB (256, 256, 3), 0..1: the largest central squares."""
    for name, sha256 in PHOTOGRAPHS.items():
        path = skimage_file(name)
        content = path.read_bytes() if path else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StimgenError(
                f"The installed scikit-image lacks the photograph {name} with the SHA-256 {sha256}.",
                "Reinstall it: pip install --force-reinstall scikit-image",
            )
        with Pillow.open(io.BytesIO(content)) as photograph:
            yield central_square(photograph)


def central_square(photograph: Pillow.Image) -> NDArray[np.float32]:
    """Return the largest central square of a photograph in 256 px: (256, 256, 3), 0..1.

    Each value is the mean of the samples whose centres lie within the pixel, along rows and then along
    columns, rounded to 8 bits after each (Pillow's BOX filter). Without rounding, mean activations of conv1_1
    in VGG-16 differ by up to 1 %; with samples weighted by their part within the pixel, by up to 3 %.
    """
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.convert("RGB").resize(
        (PHOTOGRAPH_PX, PHOTOGRAPH_PX), Pillow.Resampling.BOX, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.float32) / np.float32(255)


def share_near_one(weights: Weights) -> float:
    """Return the share of filters with a mean activation near 1, averaged over the convolutions.

    Published filters were normalised on other images, so that their means scatter around 1.
    """
    means = mean_activations(build_extractor(weights, pooling="average", normalise=False))
    shares = [(layer.log().abs() <= log(NEAR)).double().mean().item() for layer in means]
    return sum(shares) / len(shares)
