from __future__ import annotations

import pytest

from benchmarks import driver


def test_the_line_is_that_of_the_figures():
    found = [(100, batches, 0.5 * batches + 0.02 * 100) for batches in (100, 25, 7)]
    assert driver.line(found) == pytest.approx((0.5, 0.02))


@pytest.mark.slow
def test_a_driver_takes_over_what_is_done(capsys):
    driver.main(["--stimuli", "50", "--asleep", "50"])
    _, _, *rows, last, asleep = capsys.readouterr().out.splitlines()
    assert [tuple(map(int, row.split()[:2])) for row in rows] == [(50, 50), (50, 13), (50, 4)]
    assert last.endswith("ms per stimulus")
    assert "of sleep each" in asleep
