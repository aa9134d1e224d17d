"""Texture synthesis by the preset that a manifest names."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.multiscale import synthesise_together
from stimgen.texture.objective import analyse
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Checkpoints, EvaluationHook, Problem, Synthesis, no_hook
from stimgen.texture.published import synthesise_published
from stimgen.texture.tensors import to_batch


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
    alone = extractor.device.type == "cpu"
    batches = [[problem] for problem in problems] if alone else [problems]
    return [
        synthesis
        for batch in batches
        for synthesis in synthesise_together(batch, extractor, preset, after_evaluation, checkpoints)
    ]


def matched_distance(problem: Problem, extractor: FeatureExtractor, image: Image) -> float:
    """Return the largest relative distance, over its terms, of an image from what a problem asks to match."""
    terms = list(problem.terms)
    goal = problem.goal.features(extractor, terms, 0)
    reached = analyse(extractor, to_batch([image], extractor.device), terms)
    with torch.no_grad():
        return max(term.statistic.distance(reached[term], goal[term]).item() for term in terms)
