"""The same layer set in a network that was never trained."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from stimgen.controls.registration import ImageWithResiduals, Materials, register_control
from stimgen.images.pixels import Image, plane_if_grey, with_channels_of
from stimgen.networks.architectures import LARGEST_SEED

if TYPE_CHECKING:
    from stimgen.networks.extractor import FeatureExtractor


@register_control("random_weights", of_mask="square")
def random_weights(
    source: Image,
    rng: np.random.Generator,
    materials: Materials,
    *,
    layer_set: Annotated[
        str | None,
        Field(description="The layer set whose layers are matched; may be left out where there is only one."),
    ] = None,
    weights_seed: Annotated[
        int,
        Field(ge=0, le=LARGEST_SEED, description="Seed of the weights, the same network for all exemplars."),
    ] = 0,
) -> ImageWithResiduals:
    """Return a texture that matches the source in a network with random weights.

    It is synthesised as the layer set is, with the same layers, layer weights, pooling, padding and preset,
    but with the kernels of `stimgen.networks.weights.random_weights` (Gatys et al. 2015, Fig. 3C). Filters
    are not rescaled to a mean activation of 1: their variance ensures that on average, and random filters
    that are hardly ever active would dominate the loss. The residual "gram" is the largest relative Gram
    distance in the random network over the layers.
    """
    # PyTorch is imported when it is needed: the names of controls are known without it.
    from stimgen.texture.problem import Problem, SourceImage
    from stimgen.texture.statistic import weighted_terms
    from stimgen.texture.statistics.gram import principal_components
    from stimgen.texture.synthesis import matched_distance, synthesise

    model = materials.texture
    assert model is not None, "the manifest has a layer set for it"
    layers = tuple(model.layer_weights)
    extractor, weights_sha256 = _extractor(
        model.network, model.pooling, model.padding, layers, weights_seed, materials.device
    )
    bases = principal_components(extractor, layers, model.components)
    goal = SourceImage(plane_if_grey(source), materials.inside)
    problem = Problem(goal, weighted_terms(model.layer_weights, bases), rng, surface=model.surface)
    (synthesis,) = synthesise([problem], extractor, model.preset, materials.after_evaluation)
    return ImageWithResiduals(
        with_channels_of(synthesis.image, source),
        {"gram": matched_distance(problem, extractor, synthesis.image)},
        synthesis=synthesis,
        weights_sha256=weights_sha256,
    )


@lru_cache(maxsize=1)
def _extractor(
    network: str,
    pooling: Literal["average", "max"],
    padding: Literal["zeros", "mirrored"],
    layers: tuple[str, ...],
    seed: int,
    device: str,
) -> tuple[FeatureExtractor, str]:
    """Return the random network and the identity of its weights; the last one is kept for other exemplars."""
    from stimgen.networks.architectures import NETWORKS
    from stimgen.networks.extractor import build_extractor
    from stimgen.networks.weights import find_weights

    weights = find_weights(network, f"random:{seed}")
    deepest = NETWORKS[network]().deepest(layers)
    extractor = build_extractor(
        weights, pooling=pooling, padding=padding, normalise=False, device=device, deepest=deepest
    )
    return extractor, weights.tensors_sha256
