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
from stimgen.texture.objective import GramObjective, analyse, together
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, ScaleTrace, Synthesis, no_hook
from stimgen.texture.scales import layers_at
from stimgen.texture.tensors import to_batch, to_images


def synthesise_multiscale(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = no_hook,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, on a GPU all problems of the batch at once.

    At every scale the source is averaged down to the scale's size and analysed there, on the layers that
    `layers_at` gives. A problem starts at its first scale that has any, from Gaussian noise around the
    source's mean; at each further scale it starts from its bicubically enlarged result. Pixels stay between
    the smallest and the largest value of the source at full size.

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
    sources = to_batch([p.source for p in problems], extractor.device, extractor.gain.dtype)
    full_px = sources.shape[-1]
    lower, upper = sources.flatten(1).amin(dim=1), sources.flatten(1).amax(dim=1)
    descent = extractor.to(dtype=torch.bfloat16) if preset.precision == "bfloat16" else extractor
    images: dict[int, Tensor] = {}
    traces: dict[int, list[ScaleTrace]] = {b: [] for b in range(len(problems))}
    for size_px, evaluations in preset.schedule(full_px):
        layers = [layers_at(extractor.architecture, p.layer_weights, size_px, full_px) for p in problems]
        active = [b for b, used in enumerate(layers) if used]
        if not active:
            continue
        shrunk = F.interpolate(sources, size=(size_px, size_px), mode="area")
        objectives = [
            GramObjective(
                descent,
                analyse(extractor, shrunk[b : b + 1], layers[b]),
                {name: sources.new_tensor([problems[b].layer_weights[name]]) for name in layers[b]},
            )
            for b in active
        ]
        starts = [
            _enlarge(images[b], size_px)
            if b in images
            else _noise(problems[b], shrunk[b : b + 1], preset.noise_sd)
            for b in active
        ]
        # Noise lacks no frequencies; a boost there would only lead to another image than the published start.
        boosts = sources.new_tensor([preset.boost if b in images else 0.0 for b in active])
        objective = together(objectives)
        minimum = minimise(
            objective,
            torch.cat(starts),
            lower=lower[active],
            upper=upper[active],
            evaluations=evaluations,
            history=preset.history,
            precondition=boost_high_frequencies(size_px, boosts),
            after_evaluation=partial(after_evaluation, size_px, tuple(objective.targets), len(active)),
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


def _noise(problem: Problem, source: Tensor, sd: float) -> Tensor:
    # Drawn on the host, so that every device starts from the same image.
    drawn = problem.noise.standard_normal(tuple(source.shape), np.float32)
    return source.mean(dim=(2, 3), keepdim=True) + sd * torch.from_numpy(drawn).to(source)


def _enlarge(images: Tensor, size_px: int) -> Tensor:
    return F.interpolate(images, size=(size_px, size_px), mode="bicubic", align_corners=False)


def _trace(size_px: int, minimum: Minimum, problem: int) -> ScaleTrace:
    return ScaleTrace(
        size_px,
        minimum.trace[:, problem].double().cpu().numpy(),
        minimum.accepted[:, problem].cpu().numpy(),
    )
