"""Coarse-to-fine synthesis of a batch of textures, the fast default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.checkpoint import Checkpoint, Checkpoints, Reached
from stimgen.texture.components import project
from stimgen.texture.goal import Goal, PixelRange
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
from stimgen.texture.metric import flat_metric, on_components
from stimgen.texture.objective import GramObjective, together
from stimgen.texture.precision import descent_dtype
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Evaluation, EvaluationHook, Problem, StageTrace, Synthesis, no_hook
from stimgen.texture.schedule import Stage, stages
from stimgen.texture.tensors import to_images


def synthesise_multiscale(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
    checkpoints: Checkpoints | None = None,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, on a GPU all problems of the batch at once.

    The stages of a problem are those of `stimgen.texture.schedule.stages`. In each, the Gram matrices to
    reach are those of the source averaged down as often as the texture is. The first stage starts from
    Gaussian noise around the source's mean, each other one from the result so far, bicubically enlarged where
    its size is larger. Pixels stay between the smallest and the largest value of the source at full size.

    On a CPU, where shared passes gain nothing, the problems are solved one after the other, so that a
    texture is the same to the last bit whatever it shares a batch with.

    Parameters
    ----------
    problems
        Textures of one size and colour; layers and seeds may differ.
    extractor
        The network in float32; `preset.precision` says what the convolutions of the descent use. Targets
        are always float32. With an extractor in float64, everything is float64.
    preset
        Schedule and optimiser settings.
    after_evaluation
        Called after each evaluation.
    checkpoints
        Where to go on from, and what is told after each stage: with problems that are synthesised together
        all of them, on a CPU each alone.

    Returns
    -------
    list of Synthesis
        In the order of `problems`.
    """
    alone = extractor.device.type == "cpu"
    batches = [[problem] for problem in problems] if alone else [list(problems)]
    return [
        synthesis
        for batch in batches
        for synthesis in synthesise_together(batch, extractor, preset, after_evaluation, checkpoints)
    ]


def synthesise_together(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
    checkpoints: Checkpoints | None = None,
) -> list[Synthesis]:
    """Synthesise textures as `synthesise_multiscale` does, in shared forward and backward passes."""
    works = [_begin(problem, extractor, preset) for problem in problems]
    found = checkpoints.load(problems) if checkpoints else None
    if found:
        for work, reached in zip(works, found.reached, strict=True):
            work.go_on_from(reached)
    descent = extractor.to(dtype=descent_dtype(preset.precision, extractor))
    targets: dict[int, _Targets] = {}
    last_px = 0
    steps = sorted({step for work in works for step in work.stages})
    for number, (size_px, rung) in enumerate(steps, 1):
        if found and (size_px, rung) <= (found.size_px, found.rung):
            continue
        active = [work for work in works if (size_px, rung) in work.stages]
        if size_px != last_px:
            targets, last_px = _analyse(works, extractor, size_px), size_px
        plan = [work.stages[size_px, rung] for work in active]
        objective = together(
            [
                _objective(
                    work,
                    stage,
                    targets[id(work.problem.goal)],
                    extractor if stage.plain else descent,
                    preset.flatness,
                )
                for work, stage in zip(active, plan, strict=True)
            ]
        )
        for work in active:
            work.image = _start(work, size_px, preset.noise_sd)
        minimum = _descend(active, plan, objective, preset, (number, len(steps)), after_evaluation)
        precision = str(objective.extractor.dtype).removeprefix("torch.")
        for place, (work, stage) in enumerate(zip(active, plan, strict=True)):
            _keep(work, stage, precision, minimum, place)
        if checkpoints:
            reached_by_all = tuple(Reached(work.image, tuple(work.traces), work.restarts) for work in works)
            checkpoints.save(problems, Checkpoint(size_px, rung, reached_by_all))
    return [
        Synthesis(
            image=to_images(work.reached)[0],
            loss=float(work.traces[-1].losses[-1]),
            traces=tuple(work.traces),
            stop_reason=_stop_reason(work.traces),
            restarts=work.restarts,
        )
        for work in works
    ]


@dataclass
class _Work:
    """A problem on its way; `image` has the shape (1, channel, height, width)."""

    problem: Problem
    pixels: PixelRange
    stages: dict[tuple[int, int], Stage]  # by side and rung
    image: Tensor | None = None
    traces: list[StageTrace] = field(default_factory=list)
    restarts: int = 0

    @property
    def reached(self) -> Tensor:
        """The image so far."""
        assert self.image is not None, "every problem has a stage, and a stage begins with an image"
        return self.image

    def go_on_from(self, reached: Reached) -> None:
        """Take over what was reached earlier."""
        self.image = None if reached.image is None else reached.image.to(self.pixels.mean)
        self.traces, self.restarts = list(reached.traces), reached.restarts


def _begin(problem: Problem, extractor: FeatureExtractor, preset: Multiscale) -> _Work:
    plan = stages(
        preset, extractor.architecture, problem.layer_weights, problem.side_px, problem.goal.halvings
    )
    by_place = {(stage.size_px, stage.rung): stage for stage in plan}
    return _Work(problem, problem.goal.pixels(extractor), by_place)


@dataclass(frozen=True)
class _Targets:
    """Gram matrices of a goal at one size, and the metrics made of them so far by layer, floor and basis."""

    grams: dict[str, Tensor]
    metrics: dict[tuple[str, float, int | None], Tensor] = field(default_factory=dict)

    def metric(self, layer: str, stage: Stage, basis: Tensor | None, flatness: float) -> Tensor:
        """Return the metric of a layer: once for all stages and problems that share it."""
        key = (layer, stage.floor, None if basis is None else id(basis))
        if key not in self.metrics:
            target = self.grams[layer] if basis is None else project(self.grams[layer], basis)
            identity = torch.eye(target.shape[-1], dtype=target.dtype, device=target.device)[None]
            metric = identity if stage.plain else flat_metric(target, flatness, stage.floor)
            self.metrics[key] = metric if basis is None else on_components(metric, basis)
        return self.metrics[key]


def _analyse(works: Sequence[_Work], extractor: FeatureExtractor, size_px: int) -> dict[int, _Targets]:
    """Return the Gram matrices to reach at a size, by the goal's identity: once for all its problems."""
    goals: dict[int, Goal] = {}
    layers: dict[int, set[str]] = {}
    halvings: dict[int, int] = {}
    for work in works:
        for stage in work.stages.values():
            if stage.size_px == size_px:
                goal = work.problem.goal
                goals[id(goal)], halvings[id(goal)] = goal, stage.halvings
                layers.setdefault(id(goal), set()).update(stage.layers)
    ordered = extractor.architecture.layers
    return {
        key: _Targets(
            goal.grams(extractor, [layer for layer in ordered if layer in layers[key]], halvings[key])
        )
        for key, goal in goals.items()
    }


def _objective(
    work: _Work, stage: Stage, targets: _Targets, extractor: FeatureExtractor, flatness: float
) -> GramObjective:
    """Return what a stage minimises for one problem."""
    weights, bases = work.problem.layer_weights, work.problem.bases
    return GramObjective(
        extractor,
        {layer: targets.grams[layer] for layer in stage.layers},
        {layer: targets.grams[layer].new_tensor([weights[layer]]) for layer in stage.layers},
        {
            layer: targets.metric(layer, stage, bases.get(layer), flatness)
            for layer in stage.layers
            if layer in bases or not stage.plain
        },
    )


def _descend(
    active: Sequence[_Work],
    plan: Sequence[Stage],
    objective: GramObjective,
    preset: Multiscale,
    place: tuple[int, int],
    after_evaluation: EvaluationHook,
) -> Minimum:
    """Minimise one stage of the active problems together; `place` is its number and that of all stages."""
    size_px = plan[0].size_px
    lowest = torch.cat([work.pixels.lowest for work in active])
    highest = torch.cat([work.pixels.highest for work in active])
    # Noise lacks no frequencies; a boost there would only lead to another image than the published start.
    boosts = lowest.new_tensor([preset.boost if stage.enlarged else 0.0 for stage in plan])
    layers, most, zero_losses = tuple(objective.targets), plan[0].evaluations, objective.loss_of_zero()
    numbers = count(1)

    def tell(losses: Tensor) -> None:
        after_evaluation(
            Evaluation(*place, size_px, layers, next(numbers), most, losses=losses, zero_losses=zero_losses)
        )

    return minimise(
        objective,
        torch.cat([work.reached for work in active]),
        lower=lowest.flatten(1).amin(dim=1),
        upper=highest.flatten(1).amax(dim=1),
        evaluations=most,
        history=preset.history,
        precondition=boost_high_frequencies(size_px, boosts),
        enough=preset.stop_distance**2 * zero_losses,
        patience=preset.patience,
        after_evaluation=tell,
    )


def _keep(work: _Work, stage: Stage, precision: str, minimum: Minimum, place: int) -> None:
    """Take over the result of the problem at `place` in its batch."""
    count = int(minimum.evaluations[place])
    work.image = minimum.images[place : place + 1]
    work.restarts += int(minimum.restarts[place])
    stop_reason = "evaluations"
    if minimum.low_enough[place]:
        stop_reason = "stop distance"
    elif minimum.stalled[place]:
        stop_reason = "no progress"
    work.traces.append(
        StageTrace(
            stage.size_px,
            stage.layers,
            precision,
            "plain" if stage.plain else "flat",
            stop_reason,
            minimum.trace[:count, place].double().cpu().numpy(),
            minimum.accepted[:count, place].cpu().numpy(),
        )
    )


def _stop_reason(traces: Sequence[StageTrace]) -> str:
    """Return why the descent with all layers at full size ended, in its flat or its short plain stage."""
    flat, plain = (trace.stop_reason for trace in traces[-2:])
    return plain if plain == "stop distance" else flat


def _start(work: _Work, size_px: int, noise_sd: float) -> Tensor:
    """Return the image that a stage of this size starts from."""
    if work.image is None:
        # Drawn on the host, so that every device starts from the same image.
        mean = work.pixels.mean
        drawn = work.problem.noise.standard_normal((1, mean.shape[1], size_px, size_px), np.float32)
        return mean + noise_sd * torch.from_numpy(drawn).to(mean)
    if work.image.shape[-1] == size_px:
        return work.image
    return F.interpolate(work.image, size=(size_px, size_px), mode="bicubic", align_corners=False)


def boost_high_frequencies(size_px: int, exponents: Tensor) -> Precondition:
    """Return the operator that multiplies spatial frequency r (cycles/pixel) by (1 + 32 r)^exponent.

    An enlarged image lacks high frequencies, and the pixels' Hessian falls with frequency, because pooling
    averages high frequencies away. An inverse Hessian that starts from a rising gain needs fewer iterations.

    Parameters
    ----------
    size_px
        Side of the images.
    exponents
        One for each problem, shape (batch,); 0 leaves its vectors as they are.
    """
    rows = torch.fft.fftfreq(size_px, device=exponents.device)[:, None]
    columns = torch.fft.rfftfreq(size_px, device=exponents.device)[None, :]
    gain = (1 + 32 * torch.hypot(rows, columns)) ** exponents.view(-1, 1, 1, 1)

    def apply(vector: Tensor) -> Tensor:
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(vector) * gain, s=vector.shape[-2:])
        return filtered

    return apply
