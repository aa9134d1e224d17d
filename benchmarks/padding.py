r"""What the padding of convolutions does to Gram matrices and to the border of textures.

``python -m benchmarks.padding --sizes 128,256 --texture 96``

VGG-16, average pooling, photographs in grey in the pixels of their files (those that are too small for a size
are left out). The first table has, for zeros and mirrored maps, on pool3 and pool4:

- alone: relative distance of the Gram matrix of a central crop of a size from that of the same positions with
  their surroundings, so that padding is all that differs;
- across: relative distance of the mean Gram matrix of the four quarters of a crop from that of the crop,
  which has the same pixels: a distance between two sizes;
- floor: as in ``gram_floor_pool4``, of the quarters, over the distance between two crops of that size side by
  side.

The second table has textures of `conv1_1` and `pool1` to `pool4` by `multiscale`, with the setting
``smallest_px`` of each line: standard deviation of the outermost pixels over that of the middle
(`border_contrast`), largest relative Gram distance, and evaluations.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmarks.machine import describe_machine
from stimgen.images.pixels import Image, luminance
from stimgen.images.read import read_image
from stimgen.measure.border import border_contrast
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.gram import source_grams
from stimgen.networks.device import find_device
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import to_batch
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.statistics.gram import gram_matrices, relative_gram_distance
from stimgen.texture.synthesis import matched_distance, synthesise

SOURCES = "brick,gravel,grass,coffee,chelsea,camera"
LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
DEEP = ("pool3", "pool4")
AROUND_PX = 64
"""Surroundings of a crop on each side: the field of pool4 is 124 px, and a position lies in its middle."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sources", default=SOURCES)
    parser.add_argument("--sizes", default="128,256", help="sides of the crops, px; multiples of 32")
    parser.add_argument("--texture", type=int, default=96, help="side of the textures, px; 0 for none")
    parser.add_argument("--textures-of", default="gravel,grass")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    device = find_device(options.device)
    zeros = build_extractor(find_weights("vgg16", "imagenet"), device=device, deepest=DEEP[-1])
    networks = {"zeros": zeros, "mirrored": replace(zeros, padding="mirrored")}
    print(describe_machine(device))
    print("source    px  padding   alone: pool3 pool4   across: pool3 pool4   floor")
    for name in options.sources.split(","):
        for size in map(int, options.sizes.split(",")):
            photograph = grey(name)
            if min(photograph.shape) < size + 2 * AROUND_PX:
                continue
            for padding, network in networks.items():
                of_padding, across = (
                    alone(network, photograph, size),
                    between_sizes(network, photograph, size),
                )
                ratio = floor_ratio(network, photograph, size)
                print(
                    f"{name:8}{size:4}  {padding:12}  {of_padding[0]:9.2f} {of_padding[1]:5.2f}"
                    f"   {across[0]:12.2f} {across[1]:5.2f}   {ratio}",
                    flush=True,
                )
    if options.texture:
        print("\nsource    px  padding   smallest_px  seed  border_contrast  distance  evaluations")
        for name in options.textures_of.split(","):
            for padding, network in networks.items():
                for smallest_px in (64, Multiscale().smallest_px):
                    for seed in range(1, options.seeds + 1):
                        texture(network, name, options.texture, smallest_px, seed, padding)


def grey(name: str) -> Image:
    """Return a photograph of scikit-image's as luminance."""
    return luminance(read_image(f"skimage:{name}").pixels).astype(np.float32)


def cut(image: Image, top: int, left: int, side: int) -> Image:
    """Return a square of an image."""
    return image[top : top + side, left : left + side]


def grams(network: FeatureExtractor, image: Image) -> dict[str, torch.Tensor]:
    """Return the Gram matrices of an image."""
    return gram_matrices(network, to_batch([image], network.device), DEEP)


def alone(network: FeatureExtractor, photograph: Image, size: int) -> list[float]:
    """Return what padding changes at the same positions, per layer."""
    top, left = ((side - size) // 2 for side in photograph.shape)
    own = grams(network, cut(photograph, top, left, size))
    around = cut(photograph, top - AROUND_PX, left - AROUND_PX, size + 2 * AROUND_PX)

    def inside(maps: torch.Tensor) -> torch.Tensor:
        margin = AROUND_PX * maps.shape[-1] // around.shape[0]
        features = maps[..., margin:-margin, margin:-margin].flatten(2).float()
        return features @ features.transpose(1, 2) / features.shape[2]

    with torch.inference_mode():
        images = to_batch([around], network.device).expand(-1, 3, -1, -1)
        surrounded = network.features(images, DEEP, inside)
    return [relative_gram_distance(own[layer], surrounded[layer]).item() for layer in DEEP]


def between_sizes(network: FeatureExtractor, photograph: Image, size: int) -> list[float]:
    """Return the distance between a crop and the mean of its quarters, per layer."""
    top, left = ((side - size) // 2 for side in photograph.shape)
    whole, half = grams(network, cut(photograph, top, left, size)), size // 2
    quarters = [
        grams(network, cut(photograph, top + down, left + right, half))
        for down in (0, half)
        for right in (0, half)
    ]
    means = {layer: torch.stack([one[layer] for one in quarters]).mean(dim=0) for layer in DEEP}
    return [relative_gram_distance(means[layer], whole[layer]).item() for layer in DEEP]


def floor_ratio(network: FeatureExtractor, photograph: Image, size: int) -> str:
    """Return the floor of pool4 over the distance between two crops; "-" if there is no second one."""
    if min(photograph.shape) < 2 * size:
        return "    -"
    first, second = (cut(photograph, 0, left, size) for left in (0, size))
    floor = source_grams(network, first, ["pool4"], [first] * 2).scales["pool4"].floor
    apart = relative_gram_distance(grams(network, second)["pool4"], grams(network, first)["pool4"]).item()
    return f"{(floor or 0) / apart:5.2f}"


def texture(
    network: FeatureExtractor, name: str, size: int, smallest_px: int, seed: int, padding: str
) -> None:
    """Make a texture of the upper left corner of a photograph, and print its line."""
    terms = weighted_terms(dict.fromkeys(LAYERS, 1.0))
    problem = Problem(SourceImage(cut(grey(name), 0, 0, size)), terms, np.random.default_rng(seed))
    (made,) = synthesise([problem], network, Multiscale(smallest_px=smallest_px))
    contrast = border_contrast(DecodedImage(made.image.astype(np.float64)))["border_contrast"]
    print(
        f"{name:8}{size:4}  {padding:12}  {smallest_px:7}  {seed:4}  {contrast:15.2f}"
        f"  {matched_distance(problem, network, made.image):8.3f}  {made.evaluations:11}",
        flush=True,
    )


if __name__ == "__main__":
    main()
