"""Coarse-to-fine synthesis of a batch of textures, the fast default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.lbfgs import Minimum, Precondition, minimise
from stimgen.texture.objective import GramObjective, analyse
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, ScaleTrace, Synthesis
from stimgen.texture.tensors import to_batch, to_images


def synthesise_multiscale(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale,
    after_evaluation: EvaluationHook = lambda size_px, problems: None,
) -> list[Synthesis]:
    """Synthesise textures coarse to fine, all problems of the batch at once.

    At every scale the source is averaged down to the scale's size and analysed there; the image starts
    from the bicubically enlarged result of the scale below, the first one from Gaussian noise with the
    mean and standard deviation of the source. Pixels stay between the smallest and the largest value of
    the source at full size. The problems share forward and backward passes and nothing else.

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
    lower, upper = sources.flatten(1).amin(dim=1), sources.flatten(1).amax(dim=1)
    descent = extractor.to(dtype=getattr(torch, preset.precision))
    weights = _weights(problems, extractor)
    images: Tensor | None = None
    minima: list[tuple[int, Minimum]] = []
    for size_px, evaluations in preset.schedule(sources.shape[-1]):
        shrunk = F.interpolate(sources, size=(size_px, size_px), mode="area")
        start = _noise(problems, shrunk) if images is None else _enlarge(images, size_px)
        minimum = minimise(
            GramObjective(descent, analyse(extractor, shrunk, list(weights)), weights),
            start,
            lower=lower,
            upper=upper,
            evaluations=evaluations,
            history=preset.history,
            precondition=boost_high_frequencies(size_px, preset.boost, sources.device),
            after_evaluation=lambda size_px=size_px: after_evaluation(size_px, len(problems)),  # type: ignore[misc]
        )
        images = minimum.images
        minima.append((size_px, minimum))
    assert images is not None
    finished = to_images(images)
    return [
        Synthesis(
            image=finished[b],
            loss=float(minima[-1][1].losses[b]),
            traces=tuple(_trace(size_px, minimum, b) for size_px, minimum in minima),
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


def _weights(problems: Sequence[Problem], extractor: FeatureExtractor) -> dict[str, Tensor]:
    """Return each layer of the batch with its weight in each problem, shallowest layer first."""
    used = {layer for problem in problems for layer in problem.layer_weights}
    return {
        layer: torch.tensor(
            [problem.layer_weights.get(layer, 0.0) for problem in problems], device=extractor.device
        )
        for layer in extractor.architecture.layers
        if layer in used
    }


def _noise(problems: Sequence[Problem], sources: Tensor) -> Tensor:
    # Drawn on the host, so that every device starts from the same image.
    drawn = np.stack([p.noise.standard_normal(tuple(sources.shape[1:]), np.float32) for p in problems])
    noise = torch.from_numpy(drawn).to(sources.device)
    mean = sources.mean(dim=(2, 3), keepdim=True)
    return mean + sources.std(dim=(2, 3), keepdim=True) * noise


def _enlarge(images: Tensor, size_px: int) -> Tensor:
    return F.interpolate(images, size=(size_px, size_px), mode="bicubic", align_corners=False)


def _trace(size_px: int, minimum: Minimum, problem: int) -> ScaleTrace:
    return ScaleTrace(
        size_px,
        minimum.trace[:, problem].double().cpu().numpy(),
        minimum.accepted[:, problem].cpu().numpy(),
    )
