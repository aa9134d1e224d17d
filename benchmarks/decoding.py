"""Data sets for `stimgen decode` that need no download: textures of photographs, and handwritten digits.

``python -m benchmarks.decoding textures /tmp/textures``
``python -m benchmarks.decoding digits /tmp/digits``

Each writes ``FOLDER/train/CLASS/*.png`` and ``FOLDER/test/CLASS/*.png``.

*textures*: the classes are photographs of scikit-image in grey. Training crops come from the left 60 % of a
photograph and test crops from its right 35 %; the 5 % between are not used. The left part is cut into bands,
each a group (``--group-by "^(.+)-[0-9]+$"``); crops overlap within a band and not across. Every crop is
brought to mean 0.5 and SD 0.15 before values outside 0..1 are clipped, so that brightness and contrast hardly
help.

*digits*: the handwritten digits of scikit-learn, 8 × 8 pixels, enlarged to 64 px by bicubic interpolation.
Which writer wrote which digit is not known, so a writer can be on both sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from stimgen.images.pixels import Image, luminance
from stimgen.images.png import quantise
from stimgen.images.read import read_image

TEXTURES = (
    "brick", "chelsea", "coins", "grass", "gravel", "hubble_deep_field", "ihc", "moon", "page", "text",
)  # fmt: skip
CROP_PX = 64
TRAINING_SHARE, TEST_SHARE = 0.60, 0.35
MOST_BANDS, BAND_PX = 4, 80
MEAN, SD = 0.5, 0.15
DIGIT_PX = 64


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    makers = {"textures": textures, "digits": digits}
    count = 0
    for file, image in makers[options.set](options.training, options.test, rng):
        path = options.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(quantise(image)).save(path)
        count += 1
    print(f"{count} images in {options.folder}")


def textures(training: int, test: int, rng: np.random.Generator) -> Iterator[tuple[str, Image]]:
    """Yield names and crops of every photograph, `training` and `test` of each."""
    for name in TEXTURES:
        photograph = luminance(read_image(f"skimage:{name}").pixels)
        height, width = photograph.shape
        left, right = round(TRAINING_SHARE * width), round((1 - TEST_SHARE) * width)
        bands = np.array_split(photograph[:, :left], min(MOST_BANDS, height // BAND_PX))
        for number in range(training):
            band = number % len(bands)
            yield f"train/{name}/{name}-band{band}-{number:04d}.png", crop(bands[band], rng)
        for number in range(test):
            yield f"test/{name}/{name}-right-{number:04d}.png", crop(photograph[:, right:], rng)


def crop(region: np.ndarray, rng: np.random.Generator) -> Image:
    """Return a square at a random place, with the mean and the contrast that all have."""
    top, left = (int(rng.integers(side - CROP_PX + 1)) for side in region.shape)
    square = region[top : top + CROP_PX, left : left + CROP_PX]
    scaled = MEAN + SD * (square - square.mean()) / square.std()
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


def digits(training: int, test: int, rng: np.random.Generator) -> Iterator[tuple[str, Image]]:
    """Yield names and images of each digit, `training` and `test` of each, in random order."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for digit in range(10):
        chosen = rng.permutation(np.flatnonzero(labels == digit))[: training + test]
        for place, number in enumerate(chosen):
            small = Pillow.fromarray((images[number].reshape(8, 8) / 16).astype(np.float32))
            large = np.asarray(small.resize((DIGIT_PX, DIGIT_PX), Pillow.Resampling.BICUBIC))
            part = "train" if place < training else "test"
            yield f"{part}/{digit}/{number:04d}.png", np.clip(large, 0, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set", choices=("textures", "digits"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--training", type=int, default=60, help="images of each class")
    parser.add_argument("--test", type=int, default=40, help="images of each class")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
