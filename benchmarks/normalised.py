"""What tells weights with normalised filters from others: the share of filters with a mean near 1.

``python -m benchmarks.normalised``

Prints, for VGG-16 as it is, for VGG-16 with its filters normalised on other photographs than those that
stimgen measures on, and for random networks, the share that `stimgen.networks.import_weights` compares
with its threshold. All is determined by the weights and by images in scikit-image's wheel.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stimgen.images.read import skimage_file
from stimgen.networks.extractor import (
    LEAST_SHARE,
    build_extractor,
    mean_activations,
    rescale_channels,
    share_near_one,
)
from stimgen.networks.photographs import central_square, photographs
from stimgen.networks.weights import Weights, find_weights

OTHERS = (
    "brick.png",
    "cell.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_right.png",
)
"""Images in scikit-image's wheel that are not among the photographs, from textures to microscopy."""

RANDOM = (*(f"vgg16 random:{seed}" for seed in range(3)), *(f"alexnet random:{seed}" for seed in range(5)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only-random", action="store_true", help="Leave VGG-16 with trained weights out.")
    parser.add_argument("--networks", nargs="+", default=RANDOM, help='Random ones: "vgg16 random:1" …')
    options = parser.parse_args(arguments)
    if not options.only_random:
        for name, weights in trained():
            print(f"| {name} | {share_near_one(weights):.2f} |", flush=True)
    for name in options.networks:
        print(f"| {name} | {share_near_one(find_weights(*name.split())):.2f} |", flush=True)
    print(f"normalised from {LEAST_SHARE} on")


def trained() -> Iterator[tuple[str, Weights]]:
    """Yield VGG-16 with its own filters, and with filters normalised on several sets of images."""
    weights = find_weights("vgg16", "imagenet")
    yield "vgg16 imagenet", weights
    six = list(photographs())
    others = [other_image(name) for name in OTHERS]
    yield "normalised on three of the six photographs", normalised_on(weights, six[:3])
    yield "normalised on one other photograph", normalised_on(weights, [other_image("motorcycle_right.png")])
    yield "normalised on ten other images", normalised_on(weights, others)


def other_image(name: str) -> NDArray[np.float32]:
    """Return an image of scikit-image's wheel as the photographs are: RGB (256, 256, 3), 0..1."""
    path = skimage_file(name)
    if path is None:
        raise SystemExit(f"The installed scikit-image has no {name}.")
    with Image.open(path) as image:
        return central_square(image)


def normalised_on(weights: Weights, images: Sequence[NDArray[np.float32]]) -> Weights:
    """Return weights whose filters have a mean activation of 1 over `images`, with average pooling."""
    extractor = build_extractor(weights, pooling="average", normalise=False)
    rescaled = rescale_channels(extractor, mean_activations(extractor, images))
    return replace(weights, kernels=rescaled.kernels, biases=rescaled.biases)


if __name__ == "__main__":
    main()
