"""Coarse-to-fine synthesis of a batch of textures, the fast default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
from stimgen.texture.metric import flat_metric
from stimgen.texture.objective import GramObjective, analyse, together
from stimgen.texture.precision import descent_dtype
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, StageTrace, Synthesis, no_hook
from stimgen.texture.schedule import Stage, stages
from stimgen.texture.tensors import to_batch, to_images


def synthesise_multiscale(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, on a GPU all problems of the batch at once.

    The stages of a problem are those of `stimgen.texture.schedule.stages`. In each, the source is averaged
    down to the stage's size and analysed there on the stage's layers. The first stage starts from Gaussian
    noise around the source's mean, each other one from the result so far, bicubically enlarged where its
    size is larger. Pixels stay between the smallest and the largest value of the source at full size.

    On a CPU, where shared passes gain nothing, the problems are solved one after the other, so that a
    texture is the same to the last bit whatever it shares a batch with.

    Parameters
    ----------
    problems
        Sources of one size and colour; layers and seeds may differ.
    extractor
        The network in float32; `preset.precision` says what the convolutions of the descent use. Targets
        are always float32. With an extractor in float64, everything is float64.
    preset
        Schedule and optimiser settings.
    after_evaluation
        Called after each evaluation.

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
        for synthesis in synthesise_together(batch, extractor, preset, after_evaluation)
    ]


def synthesise_together(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
) -> list[Synthesis]:
    """Synthesise textures as `synthesise_multiscale` does, in shared forward and backward passes."""
    works = [_begin(problem, extractor, preset) for problem in problems]
    descent = extractor.to(dtype=descent_dtype(preset.precision, extractor))
    statistics: dict[int, _Statistics] = {}
    last_px = 0
    for size_px, rung in sorted({step for work in works for step in work.stages}):
        active = [work for work in works if (size_px, rung) in work.stages]
        if size_px != last_px:
            statistics, last_px = _analyse(works, extractor, size_px, preset.flatness), size_px
        plan = [work.stages[size_px, rung] for work in active]
        objective = together(
            [
                _objective(work, stage, statistics[id(work.problem.source)], extractor, descent)
                for work, stage in zip(active, plan, strict=True)
            ]
        )
        for work in active:
            work.image = _start(work, size_px, preset.noise_sd)
        minimum = _descend(active, plan, objective, preset, after_evaluation)
        precision = str(objective.extractor.dtype).removeprefix("torch.")
        for place, (work, stage) in enumerate(zip(active, plan, strict=True)):
            _keep(work, stage, precision, minimum, place)
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
    """A problem on its way: tensors of shape (1, channel, height, width)."""

    problem: Problem
    source: Tensor
    stages: dict[tuple[int, int], Stage]  # by side and rung
    image: Tensor | None = None
    traces: list[StageTrace] = field(default_factory=list)
    restarts: int = 0

    @property
    def reached(self) -> Tensor:
        """The image so far."""
        assert self.image is not None, "every problem has a stage, and a stage begins with an image"
        return self.image


def _begin(problem: Problem, extractor: FeatureExtractor, preset: Multiscale) -> _Work:
    source = to_batch([problem.source], extractor.device, extractor.gain.dtype)
    plan = stages(preset, extractor.architecture, problem.layer_weights, source.shape[-1])
    return _Work(problem, source, {(stage.size_px, stage.rung): stage for stage in plan})


@dataclass(frozen=True)
class _Statistics:
    """Gram matrices of a source at one size, and the metrics of its stages by floor; shape (1, N, N)."""

    targets: dict[str, Tensor]
    metrics: dict[float, dict[str, Tensor]]


def _analyse(
    works: Sequence[_Work], extractor: FeatureExtractor, size_px: int, flatness: float
) -> dict[int, _Statistics]:
    """Return the statistics of each source at a size, by the source's identity: once for all problems."""
    by_source: dict[int, list[Stage]] = {}
    sources: dict[int, Tensor] = {}
    for work in works:
        here = [stage for stage in work.stages.values() if stage.size_px == size_px]
        if here:
            by_source.setdefault(id(work.problem.source), []).extend(here)
            sources[id(work.problem.source)] = work.source
    found = {}
    for key, source in sources.items():
        shrunk = F.interpolate(source, size=(size_px, size_px), mode="area")
        used = {layer for stage in by_source[key] for layer in stage.layers}
        targets = analyse(
            extractor, shrunk, [layer for layer in extractor.architecture.layers if layer in used]
        )
        metrics: dict[float, dict[str, Tensor]] = {}
        for floor, layer in sorted(
            {(stage.floor, layer) for stage in by_source[key] for layer in stage.layers}
        ):
            if floor:
                metrics.setdefault(floor, {})[layer] = flat_metric(targets[layer], flatness, floor)
        found[key] = _Statistics(targets, metrics)
    return found


def _objective(
    work: _Work,
    stage: Stage,
    statistics: _Statistics,
    extractor: FeatureExtractor,
    descent: FeatureExtractor,
) -> GramObjective:
    """Return what a stage minimises for one problem."""
    weights = work.problem.layer_weights
    return GramObjective(
        extractor if stage.plain else descent,
        {layer: statistics.targets[layer] for layer in stage.layers},
        {layer: work.source.new_tensor([weights[layer]]) for layer in stage.layers},
        {} if stage.plain else {layer: statistics.metrics[stage.floor][layer] for layer in stage.layers},
    )


def _descend(
    active: Sequence[_Work],
    plan: Sequence[Stage],
    objective: GramObjective,
    preset: Multiscale,
    after_evaluation: EvaluationHook,
) -> Minimum:
    """Minimise one stage of the active problems together."""
    size_px, sources = plan[0].size_px, torch.cat([work.source for work in active])
    # Noise lacks no frequencies; a boost there would only lead to another image than the published start.
    boosts = sources.new_tensor([preset.boost if stage.enlarged else 0.0 for stage in plan])
    return minimise(
        objective,
        torch.cat([work.reached for work in active]),
        lower=sources.flatten(1).amin(dim=1),
        upper=sources.flatten(1).amax(dim=1),
        evaluations=plan[0].evaluations,
        history=preset.history,
        precondition=boost_high_frequencies(size_px, boosts),
        enough=preset.stop_distance**2 * objective.loss_of_zero(),
        patience=preset.patience,
        after_evaluation=partial(after_evaluation, size_px, tuple(objective.targets)),
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
        drawn = work.problem.noise.standard_normal((1, work.source.shape[1], size_px, size_px), np.float32)
        noise = torch.from_numpy(drawn).to(work.source)
        return work.source.mean(dim=(2, 3), keepdim=True) + noise_sd * noise
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
