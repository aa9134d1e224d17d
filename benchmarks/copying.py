"""What the copying check says of syntheses, controls, copies and independent exemplars.

``stimgen run benchmarks/copying.yaml``, ``stimgen run benchmarks/copying_raw.yaml``, and then
``python -m benchmarks.copying results/copying results/copying_raw``.

Each stimulus of the run is compared with its source, and so are copies of the sources that are made here:
shifted, with noise or less contrast, or one block alone, pasted into the phase scramble. Pairs of independent
random textures show how far an exemplar can come by chance, whatever made it: Gaussian noise with the
amplitude f^(−alpha), and white noise blurred by a Gaussian. All images are rounded to 8 bits. The second run,
which has no phase scrambles, adds its syntheses alone.

For each kind of image the table has the lowest and the highest r of each size of parts (`copying`), the same
of the largest share (r − b) / (1 − b) of an image, over the sizes whose baseline b tells anything, and how
many images are said to be copied.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from stimgen.controls.other_crop import free_place
from stimgen.images.png import decode_png, quantise
from stimgen.images.sources import load_photograph
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.manifest.resolved import Manifest
from stimgen.measure.copying import CROPS_PX, LARGEST_BASELINE, SourceWindows, copied, copying
from stimgen.runs.preparation import load_sources
from stimgen.runs.store import RunFolder

Pixels = NDArray[np.floating]
Case = tuple[str, Pixels, list[tuple[str, Pixels]]]
"""Name of a source, the source, and for each image that is compared with it what it is."""
Values = dict[int, float | None]

SIZE_PX = 256
RANDOM_TEXTURES = 25
"""Independent sources of each kind of random texture, each with two exemplars."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Copies and what is none.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of the finished runs")
    parser.add_argument("--random", type=int, default=RANDOM_TEXTURES, help="sources of each random texture")
    options = parser.parse_args(arguments)
    found: dict[str, list[tuple[Values, Values]]] = defaultdict(list)
    print(f"{'baselines':14s}", *(f"{f'b_{side}':>6s}" for side in CROPS_PX))
    for run in options.runs:
        for name, source, images in _of_run(load_manifest(run / "manifest.yaml"), RunFolder(run)):
            baseline = _compare(source, images, found)
            print(f"{name:14s}", *("      " if b is None else f"{b:6.3f}" for b in baseline.values()))
    for _, source, images in _random(options.random):
        _compare(source, images, found)
    titles = [*(f"r_{side}" for side in CROPS_PX), "largest share", "copied"]
    print(f"\n{'images':32s}", *(f"{title:>14s}" for title in titles))
    for kind, values in found.items():
        ranges = [_range([r[side] for r, _ in values]) for side in CROPS_PX]
        verdicts = [copied((r[side], b[side]) for side in CROPS_PX) for r, b in values]
        count = f"{verdicts.count(True)} of {len(verdicts)}"
        print(f"{kind:32s}", *ranges, _range([_largest_share(*pair) for pair in values]), f"{count:>14s}")


def _compare(
    source: Pixels, images: list[tuple[str, Pixels]], found: dict[str, list[tuple[Values, Values]]]
) -> Values:
    """Add the values of some images of one source to those of their kinds, and return its baseline."""
    windows = SourceWindows(source)
    baseline = dict(windows.baseline)
    for kind, image in images:
        found[kind].append((copying(_rounded(image), windows), baseline))
    return baseline


def _of_run(manifest: Manifest, folder: RunFolder) -> Iterator[Case]:
    sources = load_sources(manifest)
    for asked in manifest.sources:
        source, rng = sources[asked.id], np.random.default_rng(0)
        own = [stimulus for stimulus in plan(manifest) if stimulus.source == asked.id]
        images: list[tuple[str, Pixels]] = [
            (one.condition, decode_png(folder.png(one.stimulus_id))) for one in own
        ]
        scramble = next((image for condition, image in images if condition == "phase_scrambled"), None)
        if scramble is not None:
            photograph = load_photograph(asked, manifest.image, source)
            for _ in range(2):
                place = free_place(photograph.crop_box, photograph.pixels.shape[:2], rng)
                if place is not None:
                    images.append(("other crop of the photograph", photograph.crop(*place)))
            images += _copies(source.pixels, scramble, rng)
        yield asked.id, source.pixels, images


def _copies(source: Pixels, scramble: Pixels, rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    shifted = np.roll(source, (101, 37), (0, 1)).astype(np.float64)
    noise = rng.standard_normal(source.shape)
    yield "shifted copy", shifted
    yield "shifted, noise of SD 0.02", shifted + 0.02 * noise
    yield "shifted, noise of SD 0.05", shifted + 0.05 * noise
    yield "shifted, half contrast", 0.25 + 0.5 * shifted
    yield "shifted, half contrast, SD 0.05", 0.25 + 0.5 * shifted + 0.05 * noise
    for name, deviation in (("one block of 64 px", 0.0), ("one block of 64 px, SD 0.02", 0.02)):
        image = scramble.astype(np.float64)
        # Neither on the grid of the tiles nor where it was.
        image[100:164, 50:114] = source[30:94, 120:184] + deviation * noise[30:94, 120:184]
        yield name, image


def _random(count: int) -> Iterator[Case]:
    """Yield random textures: a source and two exemplars from the same distribution."""
    frequency = np.fft.fftfreq(SIZE_PX)
    radius = np.hypot(frequency[:, np.newaxis], frequency)
    radius[0, 0] = np.inf

    kinds: list[tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = [
        *(
            (f"noise, alpha {alpha:g}", lambda x, a=alpha: np.fft.ifft2(np.fft.fft2(x) * radius**-a).real)
            for alpha in (0.5, 1, 1.5, 2)
        ),
        *(
            (f"noise, blurred by {px} px", lambda x, px=px: gaussian_filter(x, px, mode="wrap"))
            for px in (4, 10, 20)
        ),
    ]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        for kind, filtered in kinds:
            images = []
            for _ in range(3):
                image = filtered(rng.standard_normal((SIZE_PX, SIZE_PX)))
                images.append(0.5 + 0.15 * (image - image.mean()) / image.std())
            source, *exemplars = images
            yield kind, source, [(kind, exemplar) for exemplar in exemplars]


def _rounded(image: Pixels) -> NDArray[np.float64]:
    return quantise(np.clip(image, 0, 1)) / 255


def _largest_share(values: Values, baseline: Values) -> float | None:
    pairs = [(values[side], baseline[side]) for side in CROPS_PX]
    telling = [(r, b) for r, b in pairs if r is not None and b is not None and b <= LARGEST_BASELINE]
    return max(((r - b) / (1 - b) for r, b in telling), default=None)


def _range(values: Sequence[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    return f"{min(numbers):6.2f} ..{max(numbers):5.2f}" if numbers else " " * 14


if __name__ == "__main__":
    main()
