"""Texture synthesis by the preset that a manifest names."""

from __future__ import annotations

from collections.abc import Sequence

from stimgen.networks.extractor import FeatureExtractor
from stimgen.texture.multiscale import synthesise_multiscale
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import EvaluationHook, Problem, Synthesis, no_hook
from stimgen.texture.published import synthesise_published


def synthesise(
    problems: Sequence[Problem],
    extractor: FeatureExtractor,
    preset: Multiscale | Gatys2015,
    after_evaluation: EvaluationHook = no_hook,
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

    Returns
    -------
    list of Synthesis
        In the order of `problems`.
    """
    if isinstance(preset, Gatys2015):
        return synthesise_published(problems, extractor, preset, after_evaluation)
    return synthesise_multiscale(problems, extractor, preset, after_evaluation)
