"""Texture synthesis as the public code of Gatys, Ecker & Bethge (2015) does it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.objective import Objective, layers_of, to_image
from stimgen.texture.presets import Gatys2015
from stimgen.texture.problem import Evaluation, EvaluationHook, Problem, StageTrace, Synthesis

MEAN_RGB = (123.68, 116.779, 103.939)
"""ImageNet mean of the published network's input, 0..255."""

LOSS_SCALE = 1e9
"""Weight of every layer in the published code. It changes only how L-BFGS-B takes its first step."""


def synthesise_published(
    problem: Problem, extractor: FeatureExtractor, preset: Gatys2015, after_evaluation: EvaluationHook
) -> Synthesis:
    """Synthesise a texture as the public code of Gatys, Ecker & Bethge (2015) does.

    scipy's L-BFGS-B minimises 1e9 · Σ w_t E_t from standard normal noise. It works in network space, RGB
    0..255 minus the ImageNet mean (grey: minus the mean of that), and keeps all pixels and channels between
    the smallest and the largest value that the source has there.
    """
    from scipy.optimize import minimize

    pixels, side = problem.goal.pixels(extractor), problem.side_px
    channels = pixels.mean.shape[1]
    mean = pixels.mean.new_tensor(MEAN_RGB)
    offset = (mean.mean() if channels == 1 else mean).view(1, -1, 1, 1)
    found = problem.goal.features(extractor, problem.terms, 0)
    objective = Objective.plain(extractor, problem.terms, found)
    layers, zero_losses = layers_of(objective.parts), objective.loss_of_zero()
    losses: list[float] = []
    iterations: list[int] = []

    def evaluate(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        network_space = torch.from_numpy(point).to(offset).view(1, channels, side, side)
        loss, gradient = objective((network_space + offset) / 255)
        losses.append(float(loss))
        number = len(losses)
        after_evaluation(Evaluation(1, 1, side, layers, number, preset.iterations, loss, zero_losses))
        return LOSS_SCALE * losses[-1], LOSS_SCALE / 255 * gradient.double().cpu().numpy().ravel()

    start = problem.noise.standard_normal(channels * side**2)
    bounds = (float((pixels.lowest * 255 - offset).min()), float((pixels.highest * 255 - offset).max()))
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
            "maxfun": 100 * preset.iterations,  # high enough never to end it
        },
    )
    image = (torch.from_numpy(result.x).view(1, channels, side, side) + offset.double().cpu()) / 255
    accepted = np.zeros(len(losses), dtype=bool)
    accepted[np.asarray(iterations, dtype=int) - 1] = True
    precision = str(extractor.dtype).removeprefix("torch.")
    reason = "iterations"
    if result.nit < preset.iterations:
        reason = " ".join(str(result.message).replace(",", " ").lower().split())
    trace = StageTrace(side, layers, precision, "plain", reason, np.minimum.accumulate(losses), accepted)
    return Synthesis(to_image(image), float(result.fun) / LOSS_SCALE, (trace,), reason, restarts=0)
