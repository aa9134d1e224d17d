"""Coarse-to-fine synthesis of a batch of textures, the fast default."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
from stimgen.texture.objective import GramObjective, analyse
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, ScaleTrace, Synthesis
from stimgen.texture.scales import layers_at
from stimgen.texture.tensors import to_batch, to_images


def synthesise_multiscale(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = lambda size_px, problems: None,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, all problems of the batch at once.

    At every scale the source is averaged down to the scale's size and analysed there, on the layers that
    `layers_at` gives. A problem starts at its first scale that has any, from Gaussian noise around the
    source's mean; at each further scale it starts from its bicubically enlarged result. Pixels stay between
    the smallest and the largest value of the source at full size. The problems share forward and backward
    passes and nothing else.

    Parameters
    ----------
    problems
        Sources of one size and colour; layers and seeds may differ.
    extractor
        The network in float32; `preset.precision` says what the convolutions of the descent use. Targets
        are always float32.
    preset
        Schedule and optimiser settings.
    after_evaluation
        Called after each evaluation.

    Returns
    -------
    list of Synthesis
        In the order of `problems`.
    """
    sources = to_batch([problem.source for problem in problems], extractor.device)
    full_px = sources.shape[-1]
    lower, upper = sources.flatten(1).amin(dim=1), sources.flatten(1).amax(dim=1)
    descent = extractor.to(dtype=getattr(torch, preset.precision))
    images: dict[int, Tensor] = {}
    traces: dict[int, list[ScaleTrace]] = {b: [] for b in range(len(problems))}
    for size_px, evaluations in preset.schedule(full_px):
        weights = [_weights_at(problem, extractor, size_px, full_px) for problem in problems]
        active = [b for b, used in enumerate(weights) if used]
        if not active:
            continue
        shrunk = F.interpolate(sources[active], size=(size_px, size_px), mode="area")
        starts = [
            _enlarge(images[b], size_px) if b in images else _noise(problems[b], source, preset.noise_sd)
            for b, source in zip(active, torch.split(shrunk, 1), strict=True)
        ]
        layer_weights = _stack([weights[b] for b in active], extractor)
        minimum = minimise(
            GramObjective(descent, analyse(extractor, shrunk, list(layer_weights)), layer_weights),
            torch.cat(starts),
            lower=lower[active],
            upper=upper[active],
            evaluations=evaluations,
            history=preset.history,
            precondition=boost_high_frequencies(size_px, preset.boost, sources.device),
            after_evaluation=partial(after_evaluation, size_px, len(active)),
        )
        for i, b in enumerate(active):
            images[b] = minimum.images[i : i + 1]
            traces[b].append(_trace(size_px, minimum, i))
    return [
        Synthesis(
            image=to_images(images[b])[0],
            loss=float(traces[b][-1].losses[-1]),
            traces=tuple(traces[b]),
            stop_reason="evaluations",
        )
        for b in range(len(problems))
    ]


def boost_high_frequencies(size_px: int, exponent: float, device: torch.device | str) -> Precondition:
    """Return the operator that multiplies spatial frequency r (cycles/image) by (1 + 32 r / size)^exponent.

    The pixels' Hessian falls with spatial frequency, because pooling averages high frequencies away; an
    inverse Hessian that starts from a rising gain needs fewer iterations.
    """
    if exponent == 0:
        return lambda vector: vector
    rows = torch.fft.fftfreq(size_px, device=device)[:, None]
    columns = torch.fft.rfftfreq(size_px, device=device)[None, :]
    gain = (1 + 32 * torch.hypot(rows, columns)) ** exponent

    def apply(vector: Tensor) -> Tensor:
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(vector) * gain, s=vector.shape[-2:])
        return filtered

    return apply


def _weights_at(
    problem: Problem, extractor: FeatureExtractor, size_px: int, full_px: int
) -> dict[str, float]:
    layers = layers_at(extractor.architecture, problem.layer_weights, size_px, full_px)
    return {layer: problem.layer_weights[layer] for layer in layers}


def _stack(weights: Sequence[dict[str, float]], extractor: FeatureExtractor) -> dict[str, Tensor]:
    """Return each layer of the batch, shallowest first, with its weight in each problem."""
    return {
        layer: torch.tensor([used.get(layer, 0.0) for used in weights], device=extractor.device)
        for layer in extractor.architecture.layers
        if any(layer in used for used in weights)
    }


def _noise(problem: Problem, source: Tensor, sd: float) -> Tensor:
    # Drawn on the host, so that every device starts from the same image.
    drawn = problem.noise.standard_normal(tuple(source.shape), np.float32)
    return source.mean(dim=(2, 3), keepdim=True) + sd * torch.from_numpy(drawn).to(source.device)


def _enlarge(images: Tensor, size_px: int) -> Tensor:
    return F.interpolate(images, size=(size_px, size_px), mode="bicubic", align_corners=False)


def _trace(size_px: int, minimum: Minimum, problem: int) -> ScaleTrace:
    return ScaleTrace(
        size_px,
        minimum.trace[:, problem].double().cpu().numpy(),
        minimum.accepted[:, problem].cpu().numpy(),
    )
