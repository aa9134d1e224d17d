"""Coarse-to-fine synthesis of a batch of textures, the fast default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
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
    targets: dict[int, dict[str, Tensor]] = {}
    last_px = 0
    for step in sorted({step for work in works for step in work.stages}):
        size_px, _ = step
        active = [work for work in works if step in work.stages]
        if size_px != last_px:
            targets, last_px = _targets(works, extractor, size_px), size_px
        for work in active:
            work.image = _start(work, size_px, preset.noise_sd)
        objective = together(
            [
                GramObjective(
                    descent,
                    {layer: targets[id(work.problem.source)][layer] for layer in work.stages[step].layers},
                    {
                        layer: work.source.new_tensor([work.problem.layer_weights[layer]])
                        for layer in work.stages[step].layers
                    },
                )
                for work in active
            ]
        )
        _solve(active, objective, [work.stages[step] for work in active], extractor, preset, after_evaluation)
    return [
        Synthesis(
            image=to_images(work.image)[0],
            loss=float(work.traces[-1].losses[-1]),
            traces=tuple(work.traces),
            stop_reason=work.stop_reason,
            restarts=work.restarts,
        )
        for work in works
        if work.image is not None
    ]


@dataclass
class _Work:
    """A problem on its way: tensors of shape (1, channel, height, width)."""

    problem: Problem
    source: Tensor
    stages: dict[tuple[int, int], Stage]  # by side and rung
    image: Tensor | None = None
    traces: list[StageTrace] = field(default_factory=list)
    stop_reason: str = ""
    restarts: int = 0


def _begin(problem: Problem, extractor: FeatureExtractor, preset: Multiscale) -> _Work:
    source = to_batch([problem.source], extractor.device, extractor.gain.dtype)
    plan = stages(preset, extractor.architecture, problem.layer_weights, source.shape[-1])
    return _Work(problem, source, {(stage.size_px, stage.rung): stage for stage in plan})


def _solve(
    active: Sequence[_Work],
    objective: GramObjective,
    plan: Sequence[Stage],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook,
) -> None:
    """Minimise one stage of the active problems, which is the last one in two parts if not in float32."""
    size_px, sources = plan[0].size_px, torch.cat([work.source for work in active])
    # Noise lacks no frequencies; a boost there would only lead to another image than the published start.
    boosts = sources.new_tensor([preset.boost if stage.enlarged else 0.0 for stage in plan])
    descend = partial(
        minimise,
        lower=sources.flatten(1).amin(dim=1),
        upper=sources.flatten(1).amax(dim=1),
        history=preset.history,
        precondition=boost_high_frequencies(size_px, boosts),
        enough=preset.stop_distance**2 * objective.loss_of_zero(),
        patience=preset.patience,
        after_evaluation=partial(after_evaluation, size_px, tuple(objective.targets)),
    )
    start = torch.cat([work.image for work in active if work.image is not None])
    evaluations = plan[0].evaluations
    if objective.extractor.dtype == extractor.dtype or not plan[0].last:
        minima = [(objective, descend(objective, start, evaluations=evaluations))]
    else:
        exact = min(preset.float32_evaluations, evaluations)
        minimum = descend(objective, start, evaluations=max(1, evaluations - exact))
        minima = [(objective, minimum)]
        objective = replace(objective, extractor=extractor)
        minimum = descend(objective, minimum.images, evaluations=exact, carried=minimum.memory)
        minima.append((objective, minimum))
    for used, minimum in minima:
        for i, (work, stage) in enumerate(zip(active, plan, strict=True)):
            _keep(work, stage, minimum, i, str(used.extractor.dtype).removeprefix("torch."))


def _keep(work: _Work, stage: Stage, minimum: Minimum, place: int, precision: str) -> None:
    """Take over the result of the problem at `place` in its batch."""
    count = int(minimum.evaluations[place])
    work.image = minimum.images[place : place + 1]
    work.restarts += int(minimum.restarts[place])
    work.stop_reason = "evaluations"
    if minimum.low_enough[place]:
        work.stop_reason = "stop distance"
    elif minimum.stalled[place]:
        work.stop_reason = "no progress"
    work.traces.append(
        StageTrace(
            stage.size_px,
            stage.layers,
            precision,
            minimum.trace[:count, place].double().cpu().numpy(),
            minimum.accepted[:count, place].cpu().numpy(),
        )
    )


def _targets(
    works: Sequence[_Work], extractor: FeatureExtractor, size_px: int
) -> dict[int, dict[str, Tensor]]:
    """Return the Gram matrices of each source at a size, by the source's identity: once for all problems."""
    layers: dict[int, set[str]] = {}
    sources: dict[int, Tensor] = {}
    for work in works:
        here = [stage.layers for stage in work.stages.values() if stage.size_px == size_px]
        if here:
            layers.setdefault(id(work.problem.source), set()).update(*here)
            sources[id(work.problem.source)] = work.source
    return {
        key: analyse(
            extractor,
            F.interpolate(source, size=(size_px, size_px), mode="area"),
            [layer for layer in extractor.architecture.layers if layer in layers[key]],
        )
        for key, source in sources.items()
    }


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
