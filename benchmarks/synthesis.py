r"""How fast `multiscale` is beside the published procedure, at equal loss.

``python -m benchmarks.synthesis --sources brick,gravel,grass --targets 0.02,0.01,0.005,0.002``

Both run in this process with one network, from source to finished image, one after the other. The loss is the
sum of the Gram losses of conv1_1 and pool1 to pool4 at full size in float32. For each target the table gives
the evaluations and the seconds until the loss is at or below it. Evaluations of `multiscale` are counted in
units of one evaluation at full size with all layers, by their operations.

`multiscale` is run from the beginning with each of some budgets of evaluations at full size, until the lowest
target is reached; the loss is that of the finished image. The reference, which is long, runs once. Clocks
rise and fall from minute to minute, so a run that reaches a target is repeated, each time after a short piece
of the reference: the ratio is the median of (evaluations of the reference × its seconds per evaluation just
now) / (seconds of multiscale), and the seconds of multiscale are the median of these runs.

``--preset`` may be given several times to compare settings, as in ``--preset "{}" --preset
"{\"boost\": 0}"``; ``--count`` leaves out the reference.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import torch

from benchmarks.machine import describe_machine, matrix_product_gflops, peak_bytes, synchronise
from stimgen.images.pixels import Image
from stimgen.images.sources import ImageSpec, SourceSpec, load_source
from stimgen.networks.device import find_device
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import Objective, analyse, to_batch
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Evaluation, Problem, SourceImage, Synthesis
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

PIECE = 20
"""Iterations of the published procedure that say how fast it is now."""

LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
HEADER = "source              target   published         multiscale         ratio   loss"
UNITS = "                             evals      s       evals      s"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = find_device(options.device)
    extractor = build_extractor(find_weights("vgg16", "imagenet"), device=device, deepest=LAYERS[-1])
    print(describe_machine(device))
    print(f"{options.size} px, batch {options.batch}, default {Multiscale()!r}")
    print(HEADER, UNITS, sep="\n", flush=True)
    for name in options.sources:
        repeats = 0 if options.count else options.repeats
        race = Race(extractor, source(name, options.size), options.batch, options.budgets, repeats)
        published, products = Log(extractor), []
        if not options.count:
            # Before and after, because the clock of a machine that works falls.
            products.append(matrix_product_gflops(device))
            published = race.published(min(options.targets), options.iterations)
            products.append(matrix_product_gflops(device))
        for settings in options.preset or ["{}"]:
            preset = Multiscale.model_validate_json(settings)
            for target, trial in race.multiscale(preset, options.targets):
                print(_row(name, target, trial, published), settings, flush=True)
        if published.seconds:
            speed = published.flops[-1] / published.seconds[-1] / 1e9
            print(
                f"{name}: published procedure at {speed:.0f} GFLOP/s, {speed / max(products):.0%} of a "
                f"float32 matrix product (before it {products[0]:.0f}, after it {products[1]:.0f} GFLOP/s)"
            )
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
    losses: list[float] = field(default_factory=list)
    stop_at: float = 0.0

    def hook(self, evaluation: Evaluation) -> None:
        """Note one evaluation; for the published procedure, which reads every loss anyhow."""
        self.seconds.append(time.perf_counter() - self.started)
        flops = 2 * self.extractor.architecture.forward_flops(evaluation.layers, evaluation.size_px)
        self.flops.append(flops + (self.flops[-1] if self.flops else 0.0))
        self.losses.append(float(evaluation.losses.max()))
        if self.losses[-1] <= self.stop_at:
            raise ReachedTarget

    def first(self, target: float) -> int | None:
        """Return the index of the first evaluation that reached a target."""
        return next((i for i, loss in enumerate(self.losses) if loss <= target), None)


@dataclass(frozen=True)
class Trial:
    """A synthesis by `multiscale` with one budget."""

    evaluations: float  # of the texture that needed most
    seconds: float  # per texture
    loss: float  # of the worst texture
    mean_evaluations: float
    pace: float = 0.0
    """Evaluations of the reference that take as long."""


@dataclass(frozen=True)
class Race:
    """The published procedure and `multiscale` on one source."""

    extractor: FeatureExtractor
    source: Image
    batch: int
    budgets: tuple[int, ...]
    repeats: int = 1

    def problems(self, count: int) -> list[Problem]:
        """Return problems with seeds from 1."""
        terms = weighted_terms(dict.fromkeys(LAYERS, 1.0))
        goal = SourceImage(self.source)
        return [Problem(goal, terms, np.random.default_rng(seed)) for seed in range(1, count + 1)]

    def published(self, lowest: float, iterations: int) -> Log:
        """Run the published procedure until the lowest target is reached."""
        log = Log(self.extractor, stop_at=lowest)
        with contextlib.suppress(ReachedTarget):
            synthesise(self.problems(1), self.extractor, Gatys2015(iterations=iterations), log.hook)
        return log

    def seconds_per_evaluation(self) -> float:
        """Return how long an evaluation of the published procedure takes now."""
        log = Log(self.extractor)
        synthesise(self.problems(1), self.extractor, Gatys2015(iterations=PIECE), log.hook)
        return log.seconds[-1] / len(log.seconds)

    def multiscale(
        self, preset: Multiscale, targets: Sequence[float]
    ) -> Iterator[tuple[float, Trial | None]]:
        """Yield each target with the smallest budget that reaches it, None where no budget does."""
        trials: list[Trial] = []
        for target in sorted(targets, reverse=True):
            while not any(trial.loss <= target for trial in trials) and len(trials) < len(self.budgets):
                trial = self.trial(preset, self.budgets[len(trials)])
                if trial.loss <= target and self.repeats:
                    paces, runs = [], []
                    for _ in range(self.repeats):
                        paces.append(self.seconds_per_evaluation())
                        runs.append(self.trial(preset, self.budgets[len(trials)]).seconds)
                    pace = median(run / seconds for run, seconds in zip(runs, paces, strict=True))
                    trial = replace(trial, seconds=median(runs), pace=pace)
                trials.append(trial)
            yield target, next((trial for trial in trials if trial.loss <= target), None)

    def trial(self, preset: Multiscale, budget: int) -> Trial:
        """Synthesise with a budget of evaluations at full size with all layers."""
        coarse = preset.evaluations[:-1] or preset.evaluations
        preset = preset.model_copy(update={"evaluations": (*coarse, budget), "stop_distance": 0.0})
        synchronise(self.extractor.device)
        start = time.perf_counter()
        synthesis = synthesise(self.problems(self.batch), self.extractor, preset)
        synchronise(self.extractor.device)
        seconds = (time.perf_counter() - start) / self.batch
        unit = 2 * self.extractor.architecture.forward_flops(LAYERS, self.source.shape[0])
        evaluations = [_flops(self.extractor, one) / unit for one in synthesis]
        worst = max(self.loss(one.image) for one in synthesis)
        return Trial(max(evaluations), seconds, worst, sum(evaluations) / len(evaluations))

    def loss(self, image: Image) -> float:
        """Return the loss of a finished image in float32."""
        device = self.extractor.device
        terms = weighted_terms(dict.fromkeys(LAYERS, 1.0))
        found = analyse(self.extractor, to_batch([self.source], device), list(terms))
        with torch.no_grad():
            return float(Objective.plain(self.extractor, terms, found).loss(to_batch([image], device)))


def source(name: str, size_px: int) -> Image:
    """Return a photograph of scikit-image's; with ":rgb" after its name in colour, else grey."""
    name, _, color = name.partition(":")
    spec = SourceSpec(id="source", image=f"skimage:{name}", path=None, crop="centre")
    image = ImageSpec(size_px=size_px, size_deg=None, ppd=None, color="rgb" if color == "rgb" else "grey")
    return load_source(spec, image, name="benchmark").pixels


def _flops(extractor: FeatureExtractor, synthesis: Synthesis) -> float:
    return sum(
        len(trace.losses) * 2 * extractor.architecture.forward_flops(trace.layers, trace.size_px)
        for trace in synthesis.traces
    )


def _row(name: str, target: float, trial: Trial | None, published: Log) -> str:
    place = published.first(target)
    reference = None if place is None else published.seconds[place]
    columns = [
        f"{name:18s}",
        f"{target:7g}",
        _cell(None if place is None else place + 1, 8, 0),
        _cell(reference, 6, 1),
        _cell(trial.evaluations if trial else None, 11, 1),
        _cell(trial.seconds if trial else None, 6, 1),
        _cell((place + 1) / trial.pace if place is not None and trial and trial.pace else None, 9, 1),
        _cell(trial.loss if trial else None, 8, 5),
    ]
    return " ".join(columns)


def _cell(number: float | None, width: int, digits: int) -> str:
    return f"{'–':>{width}}" if number is None else f"{number:{width}.{digits}f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N")
    parser.add_argument("--sources", type=lambda text: text.split(","), default=["brick", "gravel", "grass"])
    parser.add_argument("--size", type=int, default=256, help="side in px")
    parser.add_argument("--batch", type=int, default=1, help="textures made at once by multiscale")
    parser.add_argument("--targets", type=_numbers, default=(0.02, 0.01, 0.005, 0.002), help="losses")
    parser.add_argument(
        "--budgets",
        type=lambda text: tuple(int(number) for number in text.split(",")),
        default=(10, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250),
        help="evaluations of multiscale at full size, rising",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of which the median counts; 0 counts alone"
    )
    parser.add_argument("--iterations", type=int, default=1000, help="most of the published procedure")
    parser.add_argument("--preset", action="append", help="settings of multiscale as JSON")
    parser.add_argument("--count", action="store_true", help="leave out the reference")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


if __name__ == "__main__":
    main()
