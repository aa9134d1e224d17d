"""Weights of networks that were never trained."""

from __future__ import annotations

import numpy as np

from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import CONVENTIONS
from stimgen.networks.weights.record import Convolutions, Weights, weights_of


def random_weights(network: str, seed: int = 0) -> Weights:
    """Return weights as they are before training: kernels from a normal distribution, biases 0.

    The variance is 2 / fan-in (He et al. 2015, eq. 10), fan-in the number of inputs of one output: input
    channels times kernel height times width. With ReLU it keeps the scale of the activations from layer to
    layer, for an input with mean 0 and variance 1, such as torchvision's networks expect and these get.

    Parameters
    ----------
    network
        Name of the architecture.
    seed
        Seed of NumPy's generator, which draws the kernels shallowest first in float32: the same on every
        machine.

    References
    ----------
    He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification. ICCV. arXiv:1502.01852.

    Examples
    --------
    >>> random_weights("vgg16").kernels[1].var().item() * 64 * 9
    2.0...
    """
    rng = np.random.default_rng(seed)
    kernels, biases = [], []
    for step in NETWORKS[network]().convolutions:
        shape = (step.out_channels, step.in_channels, step.kernel, step.kernel)
        spread = np.float32(np.sqrt(2 / (step.in_channels * step.kernel**2)))
        kernels.append(spread * rng.standard_normal(shape, dtype=np.float32))
        biases.append(np.zeros(step.out_channels, np.float32))
    convolutions = Convolutions(tuple(kernels), tuple(biases))
    return weights_of(
        convolutions,
        network=network,
        name=f"random:{seed}",
        convention=CONVENTIONS["torchvision"],
        origin=f"NumPy's generator with seed {seed}",
        file_sha256=convolutions.sha256,
    )
