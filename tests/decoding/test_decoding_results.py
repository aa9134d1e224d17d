from __future__ import annotations

import numpy as np
import pytest

from stimgen.decoding.classifier import LayerResult
from stimgen.decoding.results import accuracy, wilson

# Newcombe (1998), Statistics in Medicine 17:857, table I, method 3 (score, no continuity correction).
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


def result(rank):
    return LayerResult(
        components=None,
        regularisation=1e-3,
        validation_top1=[(1e-4, 0.4), (1e-3, 0.5)],
        predicted=[0] * len(rank),
        rank=rank,
        preparation_seconds=1.0,
        epoch_seconds=2.0,
    )


@pytest.mark.parametrize(("right", "total", "low", "high"), PUBLISHED)
def test_intervals_are_the_published_ones(right, total, low, high):
    assert tuple(round(limit, 4) for limit in wilson(right, total)) == (low, high)


def test_accuracy_and_chance_count_test_images():
    row = accuracy(result([1, 1, 5, 6]), np.array([0, 0, 1, 2]), 6)
    assert row["components"] is None
    assert row["validation_top1"] == 0.5
    assert (row["top1"], row["top5"]) == (0.5, 0.75)
    assert (row["top1_low"], row["top1_high"]) == wilson(2, 4)
    assert (row["top5_low"], row["top5_high"]) == wilson(3, 4)
    # The class with most images is 0, with two of four.
    assert (row["chance_top1"], row["chance_top5"]) == (0.5, 1.0)
    # Five classes have no top5.
    row = accuracy(result([1, 5]), np.array([0, 4]), 5)
    assert row["top1"] == 0.5
    assert [row[name] for name in ("top5", "top5_low", "top5_high", "chance_top5")] == [None] * 4
