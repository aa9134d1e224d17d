"""Input conventions of networks, and weights found by their names. PyTorch is not imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from stimgen.networks.architectures import NETWORKS, PublishedWeights

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputConvention:
    """The input that a network with certain weights expects.

    For an RGB image in 0..1, channel c of the input is ``(scale * image_c - mean_c) / std_c``, with the
    channels in the order `channels`, in which `mean` and `std` are given, too.
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
