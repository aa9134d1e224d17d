"""How sure a share of right answers is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval.

    Attributes
    ----------
    value, low, high
        Share and limits, 0..1.
    """

    value: float
    low: float
    high: float


def wilson(right: int, total: int) -> Share:
    """Return the share of right answers with its 95 % Wilson score interval, without continuity correction.

    It holds its level for small numbers and for shares near 0 and 1, where the normal approximation fails. It
    assumes that answers are independent.

    Parameters
    ----------
    right
        Number of right answers, 0..total.
    total
        Number of answers, 1 or more.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. Journal of the
    American Statistical Association 22, 209–212.
    """
    from scipy.stats import binomtest

    interval = binomtest(right, total).proportion_ci(0.95, method="wilson")
    return Share(right / total, float(interval.low), float(interval.high))
