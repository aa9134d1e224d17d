from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stimgen.decoding.intervals import wilson

# Newcombe (1998), Statistics in Medicine 17:857, table I, method 3 (score, no continuity correction).
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("right", "total", "low", "high"), PUBLISHED)
def test_published_intervals(right, total, low, high):
    share = wilson(right, total)
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)
    assert share.value == right / total


@given(total=st.integers(1, 5000), data=st.data())
def test_limits_solve_the_equation_of_the_score_test(total, data):
    """At both limits the share is 1.96 standard errors away, the error taken at the limit (or at 0 or 1)."""
    right = data.draw(st.integers(0, total))
    share = wilson(right, total)
    assert 0 <= share.low <= share.value <= share.high <= 1
    for limit in (share.low, share.high):
        if 1e-9 < limit < 1 - 1e-9:
            distance = abs(share.value - limit) / (limit * (1 - limit) / total) ** 0.5
            assert distance == pytest.approx(1.959963984540054, rel=1e-5)
