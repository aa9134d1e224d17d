"""The published procedure (Gatys, Ecker & Bethge 2015), as the authors' public code runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.objective import GramObjective, analyse
from stimgen.texture.presets import Gatys2015
from stimgen.texture.problem import EvaluationHook, Problem, StageTrace, Synthesis, no_hook
from stimgen.texture.tensors import to_batch, to_images

MEAN_RGB = (123.68, 116.779, 103.939)
"""ImageNet mean of the published network's input, 0..255."""

LOSS_SCALE = 1e9
"""Weight of every layer in the published code. It changes only how L-BFGS-B takes its first step."""


def synthesise_published(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Gatys2015,
    after_evaluation: EvaluationHook = no_hook,
) -> list[Synthesis]:
    """Synthesise textures by the published procedure, one after the other.

    scipy's L-BFGS-B with `history` corrections and ftol = gtol = 0 minimises 1e9 · Σ w_l E_l, starting
    from standard normal noise. It works in network space, RGB 0..255 minus the ImageNet mean, and keeps
    all pixels and channels between the smallest and the largest value that the source has there.

    Grey stimuli are one luminance plane, copied to three channels; the plane's gradient is the sum over
    them. Its network space is 0..255 minus the mean over the channels of the ImageNet mean.

    Parameters
    ----------
    problems
        Each is solved alone.
    extractor
        The network in float32. Whatever input its weights want, the procedure works in the published space.
    preset
        Iterations and history.
    after_evaluation
        Called after each evaluation.

    Returns
    -------
    list of Synthesis
        In the order of `problems`. In colour, images may leave 0..1 by the differences between the
        channels' means, up to 0.08.
    """
    return [_synthesise(problem, extractor, preset, after_evaluation) for problem in problems]


def _synthesise(
    problem: Problem, extractor: FeatureExtractor, preset: Gatys2015, after_evaluation: EvaluationHook
) -> Synthesis:
    from scipy.optimize import minimize

    source = to_batch([problem.source], extractor.device, extractor.gain.dtype)
    offset = _offset(source)
    objective = GramObjective(
        extractor,
        analyse(extractor, source, list(problem.layer_weights)),
        {name: source.new_tensor([w]) for name, w in problem.layer_weights.items()},
    )
    layers = tuple(objective.targets)
    losses: list[float] = []
    iterations: list[int] = []

    def evaluate(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        network_space = torch.from_numpy(point).to(source).view(source.shape)
        loss, gradient = objective((network_space + offset) / 255)
        losses.append(float(loss))
        after_evaluation(source.shape[-1], layers, loss)
        return LOSS_SCALE * losses[-1], LOSS_SCALE / 255 * gradient.double().cpu().numpy().ravel()

    in_network_space = source * 255 - offset
    start = problem.noise.standard_normal(source.numel())
    bounds = (float(in_network_space.min()), float(in_network_space.max()))
    result = minimize(
        evaluate,
        np.clip(start, *bounds),
        jac=True,
        method="L-BFGS-B",
        bounds=[bounds] * start.size,
        callback=lambda intermediate_result: iterations.append(len(losses)),
        options={
            "maxiter": preset.iterations,
            "maxcor": preset.history,
            "ftol": 0.0,
            "gtol": 0.0,
            "maxfun": 100 * preset.iterations,  # never what ends it
        },
    )
    image = (torch.from_numpy(result.x).view(source.shape) + offset.double().cpu()) / 255
    accepted = np.zeros(len(losses), dtype=bool)
    accepted[np.asarray(iterations, dtype=int) - 1] = True
    precision = str(extractor.dtype).removeprefix("torch.")
    reason = "iterations" if result.nit >= preset.iterations else _words(result.message)
    trace = StageTrace(
        source.shape[-1], layers, precision, "plain", reason, np.minimum.accumulate(losses), accepted
    )
    return Synthesis(
        image=to_images(image)[0],
        loss=float(result.fun) / LOSS_SCALE,
        traces=(trace,),
        stop_reason=reason,
        restarts=0,
    )


def _offset(source: Tensor) -> Tensor:
    mean = source.new_tensor(MEAN_RGB)
    return (mean.mean() if source.shape[1] == 1 else mean).view(1, -1, 1, 1)


def _words(message: str | bytes) -> str:
    text = message.decode() if isinstance(message, bytes) else message
    return " ".join(text.replace(",", " ").lower().split())
