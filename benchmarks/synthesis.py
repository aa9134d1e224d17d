"""How fast `multiscale` is beside the published procedure, at equal loss.

``python -m benchmarks.synthesis --sources brick,gravel,grass --targets 0.02,0.01,0.005,0.002``

Both run in this process with one network, from source to finished image, one after the other. The loss is the
sum of the Gram losses of conv1_1 and pool1 to pool4 at full size in float32. For each target the table gives
the evaluations and the seconds until the loss is at or below it. Evaluations of `multiscale` are counted in
units of one evaluation at full size with all layers, by their operations.

The time of `multiscale` is that of a whole synthesis with just as many evaluations as the target needs, and
the loss of its image is computed anew in float32. ``--count`` leaves out the timing and the reference, to
compare settings: ``--set boost=0 --set shallow_evaluations=[]``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe_machine, matrix_product_gflops, peak_bytes, synchronise
from stimgen.images.pixels import Image
from stimgen.images.sources import load_source
from stimgen.manifest.resolved import ImageSpec, SourceSpec
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.runs.runner import compute_exactly, find_device
from stimgen.texture.objective import GramObjective, analyse
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Problem, Synthesis
from stimgen.texture.synthesis import synthesise
from stimgen.texture.tensors import to_batch

LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
HEADER = "source              target   published         multiscale         ratio   loss"
UNITS = "                             evals      s       evals      s"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = find_device(options.device)
    if device.type == "cuda":
        compute_exactly()
    extractor = build_extractor(find_weights("vgg16", "imagenet"), device=device, deepest=LAYERS[-1])
    preset = Multiscale.model_validate(dict(map(_setting, options.set)))
    peak = matrix_product_gflops(device)
    print(describe_machine(device))
    print(f"{options.size} px, batch {options.batch}, {preset!r}")
    print(f"float32 matrix product {peak:.0f} GFLOP/s")
    print(HEADER, UNITS, sep="\n", flush=True)
    for name in options.sources:
        race = Race(extractor, source(name, options.size), options.batch, options.evaluations)
        published = (
            Log(extractor) if options.count else race.published(min(options.targets), options.iterations)
        )
        for reached in race.multiscale(preset, options.targets, timed=not options.count):
            print(_row(name, reached, published), flush=True)
        if published.seconds:
            share = published.flops[-1] / published.seconds[-1] / 1e9 / peak
            print(f"{name}: published procedure at {share:.0%} of the matrix product")
    print(f"peak memory {peak_bytes(device) / 1e9:.2f} GB")


class ReachedTarget(Exception):  # noqa: N818
    """The reference is where it should be."""


@dataclass
class Log:
    """What was seen after each evaluation."""

    extractor: FeatureExtractor
    started: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # largest of the batch; infinite before the last stage
    stop_at: float = 0.0

    def hook(self, size_px: int, layers: tuple[str, ...], losses: Tensor) -> None:
        """Note one evaluation; for the published procedure, which reads every loss anyhow."""
        self.seconds.append(time.perf_counter() - self.started)
        flops = 2 * self.extractor.architecture.forward_flops(layers, size_px)
        self.flops.append(flops + (self.flops[-1] if self.flops else 0.0))
        self.losses.append(float(losses.max()))
        if self.losses[-1] <= self.stop_at:
            raise ReachedTarget

    def first(self, target: float) -> int | None:
        """Return the index of the first evaluation that reached a target."""
        return next((i for i, loss in enumerate(self.losses) if loss <= target), None)


@dataclass(frozen=True)
class Mark:
    """How much `multiscale` needed for a target; None where it did not get there."""

    target: float
    evaluations: float | None
    seconds: float | None
    loss: float


@dataclass(frozen=True)
class Race:
    """The published procedure and `multiscale` on one source."""

    extractor: FeatureExtractor
    source: Image
    batch: int
    evaluations: int

    def problems(self, count: int) -> list[Problem]:
        """Return problems with seeds from 1."""
        weights = dict.fromkeys(LAYERS, 1.0)
        return [Problem(self.source, weights, np.random.default_rng(seed)) for seed in range(1, count + 1)]

    def published(self, lowest: float, iterations: int) -> Log:
        """Run the published procedure until the lowest target is reached."""
        log = Log(self.extractor, stop_at=lowest)
        with contextlib.suppress(ReachedTarget):
            synthesise(self.problems(1), self.extractor, Gatys2015(iterations=iterations), log.hook)
        return log

    def multiscale(self, preset: Multiscale, targets: Sequence[float], *, timed: bool) -> Iterator[Mark]:
        """Yield what each target needs, found by one long synthesis and then one of the right length each."""
        long = preset.model_copy(
            update={"evaluations": (*preset.evaluations[:-1], self.evaluations), "stop_distance": 0.0}
        )
        scales = len(preset.scales(self.source.shape[0]))
        if scales > len(preset.evaluations):
            raise ValueError("Give evaluations for each scale: the last one is varied.")
        unit = 2 * self.extractor.architecture.forward_flops(LAYERS, self.source.shape[0])
        synthesis = synthesise(self.problems(self.batch), self.extractor, long)
        losses = np.max([_full_size(one, self.source.shape[0]) for one in synthesis], axis=0)
        before = _flops(self.extractor, synthesis[0]) / unit - len(losses)
        for target in targets:
            if losses.min() > target:
                yield Mark(target, None, None, float(losses.min()))
                continue
            needed = int(np.argmax(losses <= target)) + 1
            if not timed:
                yield Mark(target, before + needed, None, float(losses[needed - 1]))
                continue
            yield self._timed(long, target, needed, before)

    def _timed(self, long: Multiscale, target: float, needed: int, before: float) -> Mark:
        while True:
            just = long.model_copy(update={"evaluations": (*long.evaluations[:-1], needed)})
            synchronise(self.extractor.device)
            start = time.perf_counter()
            synthesis = synthesise(self.problems(self.batch), self.extractor, just)
            synchronise(self.extractor.device)
            seconds = (time.perf_counter() - start) / self.batch
            loss = max(self.loss(one.image) for one in synthesis)
            if loss <= target:
                return Mark(target, before + needed, seconds, loss)
            needed += 5

    def loss(self, image: Image) -> float:
        """Return the loss of a finished image in float32."""
        device = self.extractor.device
        ones = {layer: torch.ones(1, device=device) for layer in LAYERS}
        targets = analyse(self.extractor, to_batch([self.source], device), LAYERS)
        with torch.no_grad():
            return float(GramObjective(self.extractor, targets, ones).loss(to_batch([image], device)))


def source(name: str, size_px: int) -> Image:
    """Return a photograph of scikit-image's; with ":rgb" after its name in colour, else grey."""
    name, _, color = name.partition(":")
    spec = SourceSpec(id="source", image=f"skimage:{name}", path=None, crop="centre")
    image = ImageSpec(size_px=size_px, size_deg=None, ppd=None, color="rgb" if color == "rgb" else "grey")
    return load_source(spec, image, name="benchmark").pixels


def _full_size(synthesis: Synthesis, size_px: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    traces = [t.losses for t in synthesis.traces if t.size_px == size_px and len(t.layers) == len(LAYERS)]
    return np.minimum.accumulate(np.concatenate(traces))


def _flops(extractor: FeatureExtractor, synthesis: Synthesis) -> float:
    return sum(
        len(trace.losses) * 2 * extractor.architecture.forward_flops(trace.layers, trace.size_px)
        for trace in synthesis.traces
    )


def _row(name: str, mark: Mark, published: Log) -> str:
    place = published.first(mark.target)
    reference = None if place is None else published.seconds[place]
    ratio = reference / mark.seconds if reference and mark.seconds else None
    columns = [
        f"{name:18s}",
        f"{mark.target:7g}",
        _cell(None if place is None else place + 1, 8, 0),
        _cell(reference, 6, 1),
        _cell(mark.evaluations, 11, 1),
        _cell(mark.seconds, 6, 1),
        _cell(ratio, 9, 1),
        f"{mark.loss:8.5f}",
    ]
    return " ".join(columns)


def _cell(number: float | None, width: int, digits: int) -> str:
    return f"{'–':>{width}}" if number is None else f"{number:{width}.{digits}f}"


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N")
    parser.add_argument("--sources", type=lambda text: text.split(","), default=["brick", "gravel", "grass"])
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--batch", type=int, default=1, help="textures made at once by multiscale")
    parser.add_argument("--targets", type=_numbers, default=(0.02, 0.01, 0.005, 0.002), help="losses")
    parser.add_argument("--evaluations", type=int, default=300, help="most of multiscale, at full size")
    parser.add_argument("--iterations", type=int, default=1000, help="most of the published procedure")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--count", action="store_true", help="count evaluations only")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


if __name__ == "__main__":
    main()
