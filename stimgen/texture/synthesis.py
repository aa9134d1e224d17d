"""Texture synthesis by the preset that a manifest names."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stimgen.images.pixels import Image
from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.checkpoint import Checkpoints
from stimgen.texture.components import project
from stimgen.texture.gram import relative_gram_distance
from stimgen.texture.multiscale import synthesise_multiscale
from stimgen.texture.objective import analyse
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, Synthesis, no_hook
from stimgen.texture.published import synthesise_published
from stimgen.texture.tensors import to_batch


def synthesise(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale | Gatys2015,
    after_evaluation: EvaluationHook = no_hook,
    checkpoints: Checkpoints | None = None,
) -> list[Synthesis]:
    """Synthesise one texture per problem.

    Parameters
    ----------
    problems
        Sources of one size and colour, with their layers and noise.
    extractor
        The network, in float32, on the device where to work.
    preset
        The procedure and its settings.
    after_evaluation
        Called after each evaluation of loss and gradient, for progress displays.
    checkpoints
        Where to go on from, and what is told after each stage. `gatys2015` has one stage, and makes no use
        of it.

    Returns
    -------
    list of Synthesis
        In the order of `problems`.
    """
    if isinstance(preset, Gatys2015):
        return synthesise_published(problems, extractor, preset, after_evaluation)
    return synthesise_multiscale(problems, extractor, preset, after_evaluation, checkpoints)


@torch.no_grad()
def matched_distance(problem: Problem, extractor: FeatureExtractor, image: Image) -> float:
    """Return the largest relative Gram distance, over the layers, in what a problem asks to match.

    Parameters
    ----------
    problem
        With its goal, and components if it is them that are matched.
    extractor
        The network in which the texture was synthesised, in float32.
    image
        The texture, (H, W) or (H, W, 3).
    """
    layers = list(problem.layer_weights)
    targets = problem.goal.grams(extractor, layers, 0)
    reached = analyse(extractor, to_batch([image], extractor.device), layers)
    distances = []
    for layer in layers:
        both = reached[layer], targets[layer]
        if layer in problem.bases:
            both = project(both[0], problem.bases[layer]), project(both[1], problem.bases[layer])
        distances.append(relative_gram_distance(*both).item())
    return max(distances)
