"""Statistics of finished images.

One module of this package is one family of columns. It decorates one function with `register_statistic`, and
the registry finds it by itself: records, tables, data dictionaries and `stimgen stats` have its columns then.
"""

from __future__ import annotations

from stimgen.measure.decoded import DecodedImage
from stimgen.measure.registration import (
    STATISTICS,
    Statistic,
    Values,
    measure,
    prepare_source,
    register_statistic,
    statistics_in_order,
)

__all__ = [
    "STATISTICS",
    "DecodedImage",
    "Statistic",
    "Values",
    "measure",
    "prepare_source",
    "register_statistic",
    "statistics_in_order",
]
