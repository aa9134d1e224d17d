"""From images to feature maps: one explicit forward that stops at the deepest layer asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool
from stimgen.networks.memory import recomputes
from stimgen.networks.normalise import normalise_activations
from stimgen.networks.weights import Weights

Pooling = Literal["average", "max"]

Statistic: TypeAlias = Callable[[Tensor], Tensor]
"""What is wanted of feature maps (batch, channel, height, width), for example their Gram matrices."""

Block: TypeAlias = list[tuple[str, Callable[[Tensor], Tensor]]]
"""Names and functions of the steps after one pool up to and including the next."""


def whole(maps: Tensor) -> Tensor:
    """Return feature maps as they are."""
    return maps


def build_extractor(
    weights: Weights,
    *,
    pooling: Pooling = "average",
    normalise: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    deepest: str | None = None,
) -> FeatureExtractor:
    """Return the feature extractor that `weights` make of their network.

    Parameters
    ----------
    weights
        Kernels and biases with the input convention that belongs to them.
    pooling
        "average", as in Gatys, Ecker & Bethge (2015), or "max", as the network was trained.
    normalise
        Scale every filter to a mean activation of 1 (see `normalise_activations`). It is measured on the CPU
        in float32 whatever `device` and `dtype` are, so that all of them work with the same network. Weights
        that are normalised already (``weights.normalised``) are used as they are.
    device
        Where the extractor will run.
    dtype
        Precision of the convolutions, for example ``torch.bfloat16``.
    deepest
        Drop all layers below this one; the network is then smaller and normalised faster.

    Raises
    ------
    InputError
        If `pooling` or `deepest` is unknown.
    """
    if pooling not in get_args(Pooling):
        raise InputError(f'Unknown pooling "{pooling}".', nearest(pooling, get_args(Pooling)))
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
    return extractor.to(device, dtype)


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A network with frozen weights.

    Attributes
    ----------
    architecture
        The layers, possibly cut off below the deepest one of use.
    pooling
        "average" or "max".
    kernels
        One tensor (out channel, in channel, height, width) per convolution, channels last in memory.
    biases
        One tensor (out channel,) per convolution.
    gain, shift
        Input normalisation, float32 tensors (1, 3, 1, 1): network input = gain · image + shift.
    """

    architecture: Architecture
    pooling: Pooling
    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    gain: Tensor
    shift: Tensor

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
        """Return the feature maps of `layers`, or a statistic of them.

        Where `recomputes` says so, the backward pass computes the maps inside each block (from pool to pool)
        again, which takes more time and less memory. Values and gradients are the same to the last bit.

        Parameters
        ----------
        images
            RGB images (batch, 3, height, width), 0..1 but not clipped; float32 or better, on `device`.
        layers
            Layers to return; nothing below the deepest one is computed.
        statistic
            Function of one layer's maps, taken as soon as they are there, so that neither they nor their
            gradients wait for those of other layers. By default the maps themselves.

        Returns
        -------
        dict of str to Tensor
            Per layer what `statistic` makes of its maps (batch, channel, height, width) in `dtype`: after the
            ReLU for convolutions, after pooling for pools. Shallowest layer first. The maps share memory with
            nothing, but are what the backward pass needs: do not change them in place.

        Raises
        ------
        InputError
            If `layers` is empty or unknown, or the images are too small for the deepest one.
        """
        deepest = self.architecture.deepest(layers)
        self._check(images, deepest)
        side = isqrt(images.shape[2] * images.shape[3])
        again = torch.is_grad_enabled() and images.requires_grad
        again = again and recomputes(self.architecture, layers, side, self.dtype.itemsize)
        found: dict[str, Tensor] = {}
        # Normalised in float32 before any rounding to bfloat16: the mean is large against fine contrasts.
        maps = (self.gain * images + self.shift).to(self.dtype, memory_format=torch.channels_last)
        for block in self._blocks(deepest):
            forward = partial(_forward, block=block, layers=frozenset(layers), statistic=statistic)
            if again:
                maps, of_block = checkpoint(forward, maps, use_reentrant=False, preserve_rng_state=False)
            else:
                maps, of_block = forward(maps)
            found |= of_block
        return found

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> FeatureExtractor:
        """Return a copy on `device` with convolutions in `dtype`; None keeps what it is.

        The input normalisation stays in float32, or in float64 if `dtype` is float64.
        """
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
                block.append((step.name, partial(_convolve, step, *next(parameters))))
            else:
                block.append((step.name, partial(pool, kernel_size=step.kernel, stride=step.stride)))
            if isinstance(step, Pool) or step.name == deepest:
                yield block
                block = []

    def _check(self, images: Tensor, deepest: str) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"Images must be (batch, 3, height, width), not {tuple(images.shape)}.")
        smallest = self.architecture.smallest_px(deepest)
        if min(images.shape[2:]) < smallest:
            raise InputError(
                f"Images of {images.shape[2]} x {images.shape[3]} px are too small for layer {deepest}.",
                f"Use at least {smallest} px on either side, or shallower layers.",
            )


def _convolve(step: Convolution, kernel: Tensor, bias: Tensor, maps: Tensor) -> Tensor:
    return F.conv2d(maps, kernel, bias, step.stride, step.padding).relu_()


def _forward(
    maps: Tensor, block: Block, layers: frozenset[str], statistic: Statistic
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the last maps of a block, and the statistics of those of its maps that are in `layers`."""
    found = {}
    for name, step in block:
        maps = step(maps)
        if name in layers:
            found[name] = statistic(maps)
    return maps, found
