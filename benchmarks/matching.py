"""Histogram, luminance and spectra matched after the synthesis and in it.

``python -m benchmarks.matching --out benchmarks/results/matching.txt``

For each photograph, in grey and (where it has colours) in RGB, the table has the largest relative Gram
distance over the layers, of the image that is matched exactly and rounded to 8 bits: without matching, and
with each statistic matched

- *after* the synthesis;
- *alternating* with it: four times matched, each time followed by 10 evaluations at full size;
- by a *term*: 1/2 · 1000 · mean((x − y)²) is added to the loss, with y the pixels sorted into the values of
  the source, and matched at the end (histograms alone);
- *along* images that have it, as `multiscale` does.

``time`` is that of *along* in parts of that without matching, and ``checks`` the share of power above 0.45
cycles per pixel in images of *along*, in the synthesis without matching, and in the source.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.machine import describe_machine
from stimgen.images.pixels import Image, luminance
from stimgen.images.png import quantise
from stimgen.images.read import read_image
from stimgen.images.sources import shrink
from stimgen.matching.apply import Reference, Targets, clip_to_display, match
from stimgen.matching.surface import surface_of
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture import synthesis as procedure
from stimgen.texture.lbfgs import minimise
from stimgen.texture.objective import Objective, to_batch, to_image
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import Statistic, Target, Term, weighted_terms
from stimgen.texture.surfaces import Histogram, Surface

PHOTOGRAPHS = ("gravel", "grass", "brick", "coffee", "ihc")
STATISTICS = ("histogram", "luminance", "rotational_spectrum", "full_spectrum")
TERM_WEIGHT = 1000.0
SEED = 1
CHECKS = 0.45
WIDTHS = (8, 8, 12, 8, 8, 6)


@dataclass(frozen=True)
class Sorted(Statistic):
    """Half the mean squared distance of pixels from themselves sorted into the values of the source."""

    name = "sorted"
    of_pixels = True

    def target(self, features: Tensor) -> Target:
        """Return the sorted values, shape (batch, channel, pixels)."""
        return (features.flatten(2).sort(dim=2).values,)

    def loss(self, features: Tensor, target: Target) -> Tensor:
        """Return the loss of each image, shape (batch,)."""
        matched = Histogram(target[0]).match(features.detach())
        return (features - matched).square().mean(dim=(1, 2, 3)) / 2

    def zero_loss(self, target: Target) -> Tensor:
        """Return no loss, so that the rule to stop is about Gram matrices."""
        return target[0].new_zeros(len(target[0]))


class Comparison:
    """One photograph, its network and its targets."""

    def __init__(
        self, source: Image, network: FeatureExtractor, preset: Multiscale, layers: Sequence[str]
    ) -> None:
        self.source, self.network, self.preset = source, network, preset
        self.goal, self.terms = SourceImage(source), weighted_terms(dict.fromkeys(layers, 1.0))

    def problem(self, surface: Surface | None = None, more: dict[Term, float] | None = None) -> Problem:
        """Return what is synthesised, always from the same noise."""
        rng = np.random.default_rng(SEED)
        return Problem(self.goal, self.terms | (more or {}), rng, surface=surface)

    def synthesised(self, problem: Problem, preset: Multiscale | None = None) -> tuple[Image, float]:
        """Return the texture, and the seconds it took."""
        started = perf_counter()
        (found,) = procedure.synthesise([problem], self.network, preset or self.preset)
        return found.image, perf_counter() - started

    def matched(self, image: Image, name: str) -> Image:
        """Return the image with the statistic of the source."""
        goals: dict[str, Any] = {name: Reference((self.source,))}
        targets = Targets(**goals)
        return match(image, targets, np.random.default_rng(SEED))

    def alternating(self, image: Image, name: str) -> Image:
        """Return the image after four matches and descents."""
        features = self.goal.features(self.network, self.terms, 0)
        objective = Objective.plain(self.network, self.terms, features)
        for _ in range(4):
            start = to_batch([clip_to_display(self.matched(image, name))[0]], "cpu")
            ends = start.new_tensor([self.source.min()]), start.new_tensor([self.source.max()])
            found = minimise(objective, start, lower=ends[0], upper=ends[1], evaluations=10, history=20)
            image = to_image(found.images)
        return image

    def distance(self, image: Image) -> float:
        """Return the largest relative distance of an image, clipped and rounded to 8 bits."""
        shown = quantise(clip_to_display(image)[0]).astype(np.float32) / np.float32(255)
        return procedure.matched_distance(self.problem(), self.network, shown)


def checks(image: Image) -> float:
    """Return the share of luminance power above `CHECKS` cycles per pixel along rows or columns."""
    plane = luminance(image)
    power = np.abs(np.fft.fft2(plane - plane.mean())) ** 2
    rows, columns = (np.abs(np.fft.fftfreq(side)) for side in plane.shape)
    return float(power[np.maximum(rows[:, None], columns[None]) > CHECKS].sum() / power.sum())


def photographs(size_px: int, names: Sequence[str]) -> Iterator[tuple[str, Image]]:
    """Yield names and the largest central squares, in grey and in colour."""
    for name in names:
        pixels = read_image(f"skimage:{name}").pixels
        side = min(pixels.shape[:2])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        square = shrink(pixels[top : top + side, left : left + side], size_px)[0]
        square = (quantise(np.clip(square, 0, 1)) / 255).astype(np.float32)
        yield f"{name} grey", luminance(square).astype(np.float32) if square.ndim == 3 else square
        if square.ndim == 3:
            yield f"{name} rgb", square


def rows(comparison: Comparison, statistics: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the table for one photograph."""
    plain, seconds = comparison.synthesised(comparison.problem())
    without = comparison.distance(plain)
    for name in statistics:
        goal = Reference((comparison.source,))
        after = comparison.distance(comparison.matched(plain, name))
        alternating = comparison.distance(comparison.matched(comparison.alternating(plain, name), name))
        term = ""
        if name == "histogram":
            # With as many evaluations in the last stage.
            evaluations = {"plain_evaluations": comparison.preset.confined_evaluations}
            preset = comparison.preset.model_copy(update=evaluations)
            image, _ = comparison.synthesised(
                comparison.problem(more={Term(None, Sorted()): TERM_WEIGHT}), preset
            )
            term = f"{comparison.distance(comparison.matched(image, name)):.3f}"
        surface = surface_of(name, goal, comparison.source)
        image, took = comparison.synthesised(comparison.problem(surface))
        matched = comparison.matched(image, name)
        yield (
            f"{name:20s} {without:8.3f} {after:8.3f} {alternating:12.3f} {term:>8s} "
            f"{comparison.distance(matched):8.3f} {took / seconds:6.2f}   "
            f"{checks(matched):.3f} {checks(plain):.3f} {checks(comparison.source):.3f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What is matched after the synthesis, and in it.")
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    layers = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
    parser.add_argument("--layers", nargs="+", default=layers, help="layers, shallowest first")
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS)
    parser.add_argument("--statistics", nargs="+", default=STATISTICS, choices=STATISTICS)
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    network = build_extractor(
        find_weights("vgg16", "imagenet"), pooling="average", normalise=True, deepest=options.layers[-1]
    )
    preset = Multiscale(precision="float32")
    lines = [
        describe_machine(network.device),
        f"{options.size} px, {' '.join(options.layers)}, seed {SEED}, preset version {preset.version}",
    ]
    names = ["without", "after", "alternating", "term", "along", "time"]
    head = " " * 20 + "".join(f" {name:>{width}s}" for name, width in zip(names, WIDTHS, strict=True))
    head += "   checks"
    for name, source in photographs(options.size, options.photographs):
        lines += ["", f"{name}", head]
        print("\n".join(lines[-2:]), flush=True)
        for row in rows(Comparison(source, network, preset, options.layers), options.statistics):
            lines.append(row)
            print(row, flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
