"""Texture synthesis by the preset that a manifest names: coarse to fine in a batch, or as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
from stimgen.texture.objective import Objective, Part, analyse, layers_of, to_batch, to_image, together
from stimgen.texture.precision import descent_dtype
from stimgen.texture.presets import (
    FLOOR,
    FLOOR_PER_DISTANCE,
    HIGHEST_FLOOR,
    Gatys2015,
    Multiscale,
    Stage,
    stages,
)
from stimgen.texture.problem import (
    Checkpoint,
    Checkpoints,
    Evaluation,
    EvaluationHook,
    Goal,
    Problem,
    Reached,
    StageTrace,
    Synthesis,
    no_hook,
)
from stimgen.texture.published import synthesise_published
from stimgen.texture.saved import PixelRange
from stimgen.texture.statistic import STATISTICS, Target, Term
from stimgen.texture.surfaces import Histogram, Luminance, join

Targets: TypeAlias = dict[tuple[object, ...], Target]
Analysis: TypeAlias = tuple[dict[Term, Tensor], Targets]
_ANALYSED: WeakKeyDictionary[Goal, dict[tuple[object, ...], Analysis]] = WeakKeyDictionary()

NEIGHBOURS_WEIGHT = 1.0
"""Weight of the covariance of neighbouring pixels along images of one histogram or luminance."""

COLOUR_FLOOR = 0.01
"""What is added to the covariance of colours, of which the mean variance is 1."""


def synthesise(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale | Gatys2015,
    after_evaluation: EvaluationHook = no_hook,
    checkpoints: Checkpoints | None = None,
) -> list[Synthesis]:
    """Synthesise one texture per problem, with `multiscale` on a GPU all together."""
    if isinstance(preset, Gatys2015):
        return [synthesise_published(problem, extractor, preset, after_evaluation) for problem in problems]
    # A CPU gains nothing by shared passes, and alone a texture is the same to the last bit in any batch.
    # Textures of one size share them, but not grey with coloured ones, nor those with a surface with others.
    batches: dict[object, list[Problem]] = {}
    for place, problem in enumerate(problems):
        kind = problem.side_px, problem.goal.pixels(extractor).mean.shape[1], problem.surface is None
        batches.setdefault(place if extractor.device.type == "cpu" else kind, []).append(problem)
    found: dict[Problem, Synthesis] = {}
    for batch in batches.values():
        made = synthesise_together(batch, extractor, preset, after_evaluation, checkpoints)
        found |= zip(batch, made, strict=True)
    return [found[problem] for problem in problems]


def matched_distance(problem: Problem, extractor: FeatureExtractor, image: Image) -> float:
    """Return the largest relative distance, over its terms, of an image from what a problem asks to match."""
    goal, _ = _analysis(problem.goal, extractor, dict.fromkeys(problem.terms, 0))
    reached = analyse(extractor, to_batch([image], extractor.device), problem.terms)
    return max(term.statistic.distance(reached[term], goal[term]).item() for term in problem.terms)


def synthesise_together(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
    checkpoints: Checkpoints | None = None,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, in shared forward and backward passes.

    In each stage, the texture matches the source averaged down to its size. The first stage starts from
    Gaussian noise around the source's mean, each other stage from the result so far, bicubically enlarged
    where its size is larger. Pixels stay between the smallest and the largest value of the source at full
    size. `preset.precision` is that of the convolutions; targets are float32.

    A problem with a surface is descended along it at full size, and ends on it. Where that is a histogram or
    luminance, the covariance of neighbouring pixels is matched as well: without it, checkerboards that the
    network hardly sees would give an image any histogram and contrast.
    """
    works = []
    for problem in problems:
        layers, halvings = layers_of(problem.terms), problem.goal.halvings
        confined = problem.surface is not None
        plan = stages(preset, extractor.architecture, layers, problem.side_px, halvings, confined)
        by_place = {(stage.size_px, stage.rung): stage for stage in plan}
        works.append(_Work(problem, problem.goal.pixels(extractor), by_place))
    found = checkpoints.load(problems) if checkpoints else None
    if found:
        for work, reached in zip(works, found.reached, strict=True):
            work.reached = reached
    descent = extractor.to(dtype=descent_dtype(preset.precision, extractor))
    analysed: dict[Goal, Analysis] = {}
    last_px, minimum = 0, None
    steps = sorted({step for work in works for step in work.stages})
    for number, (size_px, rung) in enumerate(steps, 1):
        if found and (size_px, rung) <= (found.size_px, found.rung):
            continue
        active = [work for work in works if (size_px, rung) in work.stages]
        if size_px != last_px:
            analysed, last_px = _analyse(works, extractor, size_px), size_px
        own_stages = [work.stages[size_px, rung] for work in active]
        network = extractor if own_stages[0].plain else descent
        parts = [
            _parts(work, stage, network, preset.flatness, *analysed[work.problem.goal])
            for work, stage in zip(active, own_stages, strict=True)
        ]
        objective = together([Objective(network, own) for own in parts])
        previous = minimum if own_stages[0].continues else None
        place = number, len(steps)
        minimum = _descend(active, own_stages, objective, preset, place, previous, after_evaluation)
        precision = str(network.dtype).removeprefix("torch.")
        for index, (work, stage) in enumerate(zip(active, own_stages, strict=True)):
            work.keep(stage, precision, minimum, index)
        # What L-BFGS has seen is too large to be kept for a stage that continues.
        upcoming = steps[number : number + 1]
        continues = any(
            work.stages[step].continues for step in upcoming for work in works if step in work.stages
        )
        if checkpoints and not continues:
            checkpoints.save(problems, Checkpoint(size_px, rung, tuple(work.reached for work in works)))
    return [work.result() for work in works]


@dataclass
class _Work:
    """A problem under way."""

    problem: Problem
    pixels: PixelRange
    stages: dict[tuple[int, int], Stage]  # by side and rung
    reached: Reached = field(default_factory=Reached)

    def start(self, size_px: int, noise_sd: float) -> Tensor:
        """Return the image that a stage of this size starts from."""
        if self.reached.image is None:
            # Drawn on the host, so that every device starts from the same image.
            mean = self.pixels.mean
            drawn = self.problem.noise.standard_normal((1, mean.shape[1], size_px, size_px), np.float32)
            return mean + noise_sd * torch.from_numpy(drawn).to(mean)
        return self.image(size_px)

    def image(self, size_px: int) -> Tensor:
        """Return the result so far in a size."""
        assert self.reached.image is not None, "there was a stage"
        image = self.reached.image.to(self.pixels.mean)
        if image.shape[-1] == size_px:
            return image
        return F.interpolate(image, size=(size_px, size_px), mode="bicubic", align_corners=False)

    def keep(self, stage: Stage, precision: str, minimum: Minimum, place: int) -> None:
        """Take over the result of the problem at `place` in its batch."""
        evaluations = int(minimum.evaluations[place])
        stalled = "no progress" if minimum.stalled[place] else "evaluations"
        trace = StageTrace(
            stage.size_px,
            stage.layers,
            precision,
            "plain" if stage.plain else "flat",
            "stop distance" if minimum.low_enough[place] else stalled,
            minimum.trace[:evaluations, place].double().cpu().numpy(),
            minimum.accepted[:evaluations, place].cpu().numpy(),
        )
        self.reached = Reached(
            minimum.images[place : place + 1],
            (*self.reached.traces, trace),
            self.reached.restarts + int(minimum.restarts[place]),
        )

    def result(self) -> Synthesis:
        """Return the texture after its last stage."""
        image, traces = self.reached.image, self.reached.traces
        assert image is not None, "every problem has a stage"
        # The descent with all layers at full size ends in a flat and a short plain stage.
        flat, plain = (trace.stop_reason for trace in traces[-2:])
        return Synthesis(
            image=to_image(image),
            loss=float(traces[-1].losses[-1]),
            traces=traces,
            stop_reason=plain if plain == "stop distance" else flat,
            restarts=self.reached.restarts,
            confined_to=self.problem.surface.name if self.problem.surface else None,
        )


def _terms(problem: Problem, stage: Stage) -> dict[Term, float]:
    """Return what a problem matches in a stage: statistics of its layers, and of pixels in all stages."""
    terms = {
        term: weight
        for term, weight in problem.terms.items()
        if term.layer is None or term.layer in stage.layers
    }
    if stage.halvings == 0 and isinstance(problem.surface, Histogram | Luminance):
        terms[Term(None, STATISTICS["neighbours"])] = NEIGHBOURS_WEIGHT
    return terms


def _analyse(works: Sequence[_Work], extractor: FeatureExtractor, size_px: int) -> dict[Goal, Analysis]:
    """Return the analysis of each goal at a size."""
    terms: dict[Goal, dict[Term, int]] = {}
    for work in works:
        for stage in work.stages.values():
            if stage.size_px == size_px:
                own = dict.fromkeys(_terms(work.problem, stage), stage.halvings)
                terms.setdefault(work.problem.goal, {}).update(own)
    return {goal: _analysis(goal, extractor, halvings) for goal, halvings in terms.items()}


def _analysis(goal: Goal, extractor: FeatureExtractor, halvings: Mapping[Term, int]) -> Analysis:
    """Return the features of a goal that was halved so often, and what is made of them, computed once."""
    known = _ANALYSED.setdefault(goal, {})
    # Equal statistics may have different targets. The features keep the terms, so that no id comes back.
    key = extractor, *((term.layer, id(term.statistic), times) for term, times in halvings.items())
    if key not in known:
        known[key] = goal.features(extractor, halvings, max(halvings.values())), {}
    return known[key]


def _parts(
    work: _Work,
    stage: Stage,
    network: FeatureExtractor,
    flatness: float,
    features: Mapping[Term, Tensor],
    targets: Targets,
) -> dict[Term, Part]:
    """Return targets and weights; a target is made once for all stages and problems that share it."""
    terms = _terms(work.problem, stage)
    # What was adapted to one image is kept for no other.
    if stage.floor is None:
        floors, known = _adapted_floors(work, stage, network, features), {}
    else:
        floors, known = dict.fromkeys(terms, stage.floor), targets
    parts = {}
    for term, weight in terms.items():
        key = term.layer, id(term.statistic), stage.plain, flatness, floors[term]
        if key not in known:
            if stage.plain:
                known[key] = term.statistic.target(features[term])
            else:
                known[key] = term.statistic.flat_target(features[term], flatness, floors[term])
        parts[term] = Part(known[key], features[term].new_tensor([weight]))
    return parts


def _adapted_floors(
    work: _Work, stage: Stage, network: FeatureExtractor, features: Mapping[Term, Tensor]
) -> dict[Term, float]:
    """Return the floor of each term's metric, by how far the image of a problem is from its features."""
    terms = _terms(work.problem, stage)
    found = analyse(network, work.image(stage.size_px), terms)
    distances = {term: float(term.statistic.distance(found[term], features[term])) for term in terms}
    # In this order, a distance that is no number gives the lowest floor.
    return {
        term: min(HIGHEST_FLOOR, max(FLOOR, FLOOR_PER_DISTANCE * distance))
        for term, distance in distances.items()
    }


def _descend(
    active: Sequence[_Work],
    plan: Sequence[Stage],
    objective: Objective,
    preset: Multiscale,
    place: tuple[int, int],
    previous: Minimum | None,
    after_evaluation: EvaluationHook,
) -> Minimum:
    """Minimise one stage of the active problems together; `place` is its number and that of all stages."""
    size_px, most = plan[0].size_px, plan[0].evaluations
    lowest = torch.cat([work.pixels.lowest for work in active])
    highest = torch.cat([work.pixels.highest for work in active])
    # Noise has all frequencies; boosting high ones there would lead away from the published start.
    boosts = lowest.new_tensor([preset.boost if stage.enlarged else 0.0 for stage in plan])
    covariances = torch.cat([work.pixels.covariance for work in active])
    colours = decorrelated(covariances, preset.decorrelation)
    layers, zero_losses = layers_of(objective.parts), objective.loss_of_zero()
    numbers = count(1)

    def report(losses: Tensor) -> None:
        after_evaluation(Evaluation(*place, size_px, layers, next(numbers), most, losses, zero_losses))

    full = size_px == active[0].problem.side_px
    surfaces = [work.problem.surface for work in active if full and work.problem.surface]
    if surfaces:
        # What images are matched to may leave the range of their own source.
        lowest, highest = torch.zeros_like(lowest), torch.ones_like(highest)
    return minimise(
        objective,
        torch.cat([work.start(size_px, preset.noise_sd) for work in active]),
        lower=lowest.flatten(1).amin(dim=1),
        upper=highest.flatten(1).amax(dim=1),
        evaluations=most,
        history=preset.history,
        precondition=start_matrix(size_px, boosts, colours),
        enough=preset.stop_distance**2 * zero_losses,
        patience=preset.patience,
        surface=join(surfaces, lowest) if surfaces else None,
        previous=previous,
        after_evaluation=report,
    )


def decorrelated(covariances: Tensor, exponent: float) -> Tensor:
    """Return (C + 0.01 I)^exponent with eigenvalues of mean 1, (batch, channel, channel).

    C are the covariances of channels in each source, divided by the mean of their diagonals. Steps in the
    colours that a source hardly has are smaller, as in the decorrelated colours of Olah, Mordvintsev &
    Schubert (2017, Feature visualization, Distill).
    """
    # On the host in float64: it is small.
    found = covariances.double().cpu()
    scale = found.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    values, vectors = torch.linalg.eigh(found / scale.view(-1, 1, 1))
    powers = (values.clamp_min(0) + COLOUR_FLOOR) ** exponent
    powers = powers / powers.mean(dim=1, keepdim=True)
    matrices: Tensor = vectors @ torch.diag_embed(powers) @ vectors.transpose(1, 2)
    return matrices.to(covariances)


def start_matrix(size_px: int, exponents: Tensor, colours: Tensor) -> Precondition:
    """Return the operator that multiplies spatial frequency r (cycles/pixel) by (1 + 32 r)^exponent.

    Colours are multiplied by the matrices of `decorrelated`, (batch, channel, channel).

    An enlarged image lacks high frequencies, and the pixels' Hessian falls with frequency, because pooling
    averages high frequencies away. An inverse Hessian that starts from a rising gain needs fewer iterations.
    There is one exponent for each problem, shape (batch,).
    """
    rows = torch.fft.fftfreq(size_px, device=exponents.device)[:, None]
    columns = torch.fft.rfftfreq(size_px, device=exponents.device)[None, :]
    gain = (1 + 32 * torch.hypot(rows, columns)) ** exponents.view(-1, 1, 1, 1)

    def apply(vector: Tensor) -> Tensor:
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(vector) * gain, s=vector.shape[-2:])
        return filtered if vector.shape[1] == 1 else (colours @ filtered.flatten(2)).view_as(filtered)

    return apply
