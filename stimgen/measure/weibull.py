"""The distribution of edges: a Weibull distribution of the luminance gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stimgen.column import Column
from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import Values, register_statistic

SIGMA_PX = 1.0
"""Standard deviation of the Gaussian whose derivatives measure the gradient."""

NO_GRADIENT = 1e-10
"""Below is the rounding of the filters, as in areas of one luminance."""

SCHOLTE = "Geusebroek & Smeulders (2005), Int. J. Comput. Vis. 62:7; Scholte et al. (2009), J. Vis. 9(4):29"


def fit_weibull(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return scale β and shape γ of the Weibull distribution that is the most likely one for the values.

    The density is (γ/β) (x/β)^(γ−1) exp(−(x/β)^γ). γ solves

        Σ x^γ ln x / Σ x^γ − Σ ln x / n = 1/γ

    and β = (Σ x^γ / n)^(1/γ). The left side rises with γ and the right side falls, so that there is one
    solution; it is found with Newton's method. Both are None for fewer than two different values.

    Parameters
    ----------
    values
        Above 0.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return None, None
    largest = float(values.max())
    logarithms = np.log(values / largest)
    mean = float(logarithms.mean())
    # The standard deviation of ln x is π / (√6 γ).
    gamma = math.pi / (math.sqrt(6) * float(logarithms.std()))
    for _ in range(100):
        powers = np.exp(gamma * logarithms)
        shares = powers / powers.sum()
        # Not as products of matrices, for which BLAS would wake its threads in every iteration.
        first, second = (float(np.einsum("i,i", shares, logarithms**power)) for power in (1, 2))
        step = (first - mean - 1 / gamma) / (second - first**2 + 1 / gamma**2)
        gamma = max(gamma - step, gamma / 2)
        if abs(step) <= 1e-12 * gamma:
            break
    beta = largest * float(np.mean(np.exp(gamma * logarithms))) ** (1 / gamma)
    return beta, gamma


@register_statistic(
    "weibull",
    order=12,
    columns=(
        Column(
            "weibull_beta",
            "Weibull scale",
            "beta of the Weibull distribution gamma/beta (x/beta)^(gamma-1) exp(-(x/beta)^gamma), fitted by "
            "maximum likelihood to the magnitude x of the luminance gradient (derivatives of a Gaussian of "
            "SD 1 px) where it is not 0: contrast of edges. Empty for a constant image.",
            "fraction of white/px",
            SCHOLTE,
        ),
        Column(
            "weibull_gamma",
            "Weibull shape",
            "gamma of the same: near 2 where edges are many and alike, as in noise, lower where they are few "
            "and strong among smooth areas.",
            origin=SCHOLTE,
        ),
    ),
)
def weibull_columns(image: DecodedImage) -> Values:
    """Return β and γ of the gradient magnitude (Geusebroek & Smeulders 2005; Scholte et al. 2009)."""
    from scipy import ndimage

    down, right = (
        ndimage.gaussian_filter(image.luminance, SIGMA_PX, order=order, mode="nearest")
        for order in ((1, 0), (0, 1))
    )
    magnitude = np.sqrt(down**2 + right**2).ravel()
    beta, gamma = fit_weibull(magnitude[magnitude > NO_GRADIENT])
    return {"weibull_beta": beta, "weibull_gamma": gamma}
