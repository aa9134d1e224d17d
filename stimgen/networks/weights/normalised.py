"""Whether the filters of weights are normalised already, as those that Gatys and colleagues published."""

from __future__ import annotations

from math import log

from stimgen.networks.weights.record import Weights

NEAR = 2.0
"""A mean activation between 1 / NEAR and NEAR counts as near 1."""

LEAST_SHARE = 0.55
"""Share of filters near 1 from which on weights count as normalised, half-way between what was measured for
VGG-16 normalised on other photographs (0.70 and more) and for networks without normalisation (0.43 and less):
``python -m benchmarks.normalised``."""


def are_normalised(weights: Weights) -> bool:
    """Return whether filters have a mean activation of about 1 over natural photographs.

    Published filters were normalised on other images than stimgen's photographs, so that their means scatter
    around 1, the more the deeper the layer. Not every mean has to be near 1, but `LEAST_SHARE` of them.

    Raises
    ------
    StimgenError
        If a photograph is missing from the installed scikit-image or is another one.
    """
    return share_near_one(weights) >= LEAST_SHARE


def share_near_one(weights: Weights) -> float:
    """Return the share of filters with a mean activation near 1, averaged over the convolutions.

    Activations are those with average pooling, over the photographs that stimgen normalises on
    (`stimgen.networks.normalise.PHOTOGRAPHS`).

    Raises
    ------
    StimgenError
        If a photograph is missing from the installed scikit-image or is another one.
    """
    # The extractor is made of weights, and so it is above them.
    from stimgen.networks.extractor import build_extractor
    from stimgen.networks.normalise import mean_activations

    means = mean_activations(build_extractor(weights, pooling="average", normalise=False))
    shares = [(layer.log().abs() <= log(NEAR)).double().mean().item() for layer in means]
    return sum(shares) / len(shares)
