r"""The published procedure, and a judge of textures, in plain PyTorch: of stimgen only the weights.

The network is VGG-16 with average pooling, its filters normalised on other photographs than stimgen's. The
loss is Σ_l ‖G_l − T_l‖² / (4 N_l²), with T_l the Gram matrix of the source (Gatys, Ecker & Bethge 2015).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy.optimize import OptimizeResult, minimize
from sklearn.datasets import load_sample_images
from torch import Tensor

from stimgen.networks.weights import Weights, find_weights

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions before each pool of VGG-16 (Simonyan & Zisserman 2015, configuration D)."""
LOSS_SCALE = 1e9
"""Weight of the loss in the published code; the first step of L-BFGS-B depends on it."""


class Vgg16:
    """VGG-16 with average pooling; images are (batch, 1 or 3, height, width), 0..1."""

    def __init__(self, weights: Weights, padding: str) -> None:
        self.kernels, self.biases, self.padding = list(weights.kernels), list(weights.biases), padding
        self.scale = weights.convention.scale
        self.mean = torch.tensor(weights.convention.mean).view(1, 3, 1, 1)
        self.std = torch.tensor(weights.convention.std).view(1, 3, 1, 1)

    def convolved(self, maps: Tensor, place: int) -> Tensor:
        """Return the activations of a convolution."""
        kernel, bias = self.kernels[place], self.biases[place]
        if self.padding == "mirrored":
            return F.relu(F.conv2d(F.pad(maps, (1, 1, 1, 1), "reflect"), kernel, bias))
        return F.relu(F.conv2d(maps, kernel, bias, padding=1))

    def maps(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the feature maps of layers."""
        maps, place, found = (self.scale * images - self.mean) / self.std, 0, {}
        for block, convolutions in enumerate(BLOCKS, 1):
            for number in range(1, convolutions + 1):
                maps, place = self.convolved(maps, place), place + 1
                found[f"conv{block}_{number}"] = maps
            maps = found[f"pool{block}"] = F.avg_pool2d(maps, 2)
            if set(layers) <= set(found):
                break
        return {layer: found[layer] for layer in layers}

    @torch.no_grad()
    def normalise(self, images: Tensor) -> None:
        """Scale each filter to a mean activation of 1 over images, the shallowest first."""
        maps, incoming = (self.scale * images - self.mean) / self.std, torch.ones(3)
        for place in range(len(self.kernels)):
            # Undoes what was done to the maps that come in, so that only this filter's scale changes.
            self.kernels[place] = self.kernels[place] * incoming[:, None, None]
            active = self.convolved(maps, place)
            incoming = active.mean((0, 2, 3))
            incoming = torch.where(incoming > 0, incoming, 1.0)
            self.kernels[place] = self.kernels[place] / incoming[:, None, None, None]
            self.biases[place] = self.biases[place] / incoming
            maps = active / incoming[:, None, None]
            maps = F.avg_pool2d(maps, 2) if place + 1 in np.cumsum(BLOCKS) else maps


class Judge:
    """The loss of images beside a source."""

    def __init__(self, network: Vgg16, source: Tensor, layers: Sequence[str]) -> None:
        self.network, self.source, self.layers = network, source, layers
        with torch.no_grad():
            self.targets = self.grams(source)

    def grams(self, image: Tensor) -> list[Tensor]:
        """Return the Gram matrix of each layer, divided by the number of positions."""
        features = [maps[0].flatten(1) for maps in self.network.maps(image, self.layers).values()]
        return [one @ one.T / one.shape[1] for one in features]

    def loss(self, image: Tensor) -> Tensor:
        """Return the loss of an image (1, 1 or 3, height, width)."""
        pairs = zip(self.grams(image), self.targets, strict=True)
        return torch.stack([(g - t).square().sum() / (4 * len(t) ** 2) for g, t in pairs]).sum()


def published(judge: Judge, iterations: int, stop_at: float) -> dict[str, Any]:
    """Return the loss after each evaluation of the published procedure, and the seconds of one.

    Pixels are in the space of the published network, RGB 0..255 minus the mean, within the source's range.
    """
    source, mean = judge.source, 255 * judge.network.mean / judge.network.scale
    mean = mean.mean((1,), keepdim=True) if source.shape[1] == 1 else mean
    bounds = (float((255 * source - mean).min()), float((255 * source - mean).max()))
    start = np.random.default_rng(1).standard_normal(source.numel()).clip(*bounds)
    losses: list[float] = []
    times, load = [time.perf_counter()], os.getloadavg()[0]

    def evaluate(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        pixels = torch.from_numpy(point.astype(np.float32)).view(source.shape).requires_grad_()
        loss = LOSS_SCALE * judge.loss((pixels + mean) / 255)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item() / LOSS_SCALE)
        times.append(time.perf_counter())
        assert pixels.grad is not None
        return loss.item(), pixels.grad.numpy().astype(np.float64).ravel()

    def callback(intermediate_result: OptimizeResult) -> None:
        if min(losses) <= stop_at:
            raise StopIteration

    options = {"maxiter": iterations, "maxcor": 20, "ftol": 0.0, "gtol": 0.0, "maxfun": 100 * iterations}
    procedure = partial(minimize, jac=True, method="L-BFGS-B", bounds=[bounds] * start.size, options=options)
    procedure(evaluate, start, callback=callback)
    return {"losses": losses, "seconds": float(np.median(np.diff(times))), "load": [load, os.getloadavg()[0]]}


def read(name: str, size_px: int, colour: str) -> Tensor:
    """Return the largest central square of an image of scikit-image's as (1, 1 or 3, size, size), 0..1."""
    folder = Path(str((spec := find_spec("skimage")) and spec.origin)).parent / "data"
    (path,) = [path for path in folder.glob(f"{name}.*") if path.suffix in (".png", ".jpg")]
    with Pillow.open(path) as photograph:
        return square(photograph, size_px, colour)


def square(photograph: Pillow.Image, size_px: int, colour: str = "rgb") -> Tensor:
    """Return the largest central square of a photograph as (1, 1 or 3, size, size), 0..1."""
    pixels = np.asarray(photograph.convert("RGB"), dtype=np.float64) / 255
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    mixed = [[0.2126, 0.7152, 0.0722]] if colour == "grey" else np.eye(3)  # ITU-R BT.709
    planes = np.tensordot(mixed, pixels[top : top + side, left : left + side], (1, 2))
    pictures = [Pillow.fromarray(plane.astype(np.float32)) for plane in planes]
    shrunk = [picture.resize((size_px, size_px), Pillow.Resampling.LANCZOS) for picture in pictures]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in shrunk]).clip(0, 1))[None]


@cache
def independent_network(padding: str) -> Vgg16:
    """Return VGG-16 whose filters are normalised on colour photographs that stimgen does not use.

    They are a temple and a flower from scikit-learn, and a motorcycle from scikit-image, in 256 px. On images
    without colour, filters for colour would come to have a hundred times the weight.
    """
    network = Vgg16(find_weights("vgg16", "imagenet"), padding)
    samples = [square(Pillow.fromarray(image), 256) for image in load_sample_images().images]
    network.normalise(torch.cat([*samples, read("motorcycle_right", 256, "rgb")]))
    return network
