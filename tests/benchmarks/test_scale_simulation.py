"""The simulation of many workers against what can be computed by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.scale_simulation import Setting, main, simulate

PLAIN = {"spread": 0.0, "preemptions_per_s": 0.0, "walltime_s": math.inf}
FREE = {"record_s": 0, "batch_s": 0, "table_s": 0}
"""A driver that takes no time."""
HANDLING_S = Setting.batch_s + 16 * Setting.record_s


def test_one_worker_takes_the_sum_of_all_times():
    found = simulate(Setting(stimuli=1600, stimulus_s=2, **PLAIN))
    assert found.seconds == pytest.approx(1600 * 2 + 100 * HANDLING_S + 1600 * Setting.table_s)
    assert found.lost_share == 0


def test_too_many_workers_wait_for_the_driver():
    setting = Setting(stimuli=160_000, stimulus_s=0.1, workers=2000, table_s=0, **PLAIN)
    found = simulate(setting)
    assert found.seconds == pytest.approx(10_000 * HANDLING_S, rel=0.02)
    assert found.driver_share == pytest.approx(1, abs=0.02)


def test_cost_of_preemptions():
    rate, batch, wait = 1 / 40, 16.0, 5.0
    plain = PLAIN | {"preemptions_per_s": rate}
    each = simulate(Setting(stimuli=16 * 20_000, wait_s=wait, **FREE, **plain)).seconds / 20_000
    # Attempts until one is not preempted: mean time (e^rb - 1) / r, and a wait after each preemption.
    assert each == pytest.approx((math.exp(rate * batch) - 1) * (1 / rate + wait), rel=0.02)


def test_jobs_that_reach_their_walltime():
    # Five batches of 16 s in 100 s: after the fifth, 20 s are left, and 24 s would be needed.
    setting = Setting(stimuli=16 * 10, wait_s=30, **FREE, **PLAIN | {"walltime_s": 100.0})
    assert simulate(setting).seconds == pytest.approx(100 + 30 + 5 * 16)
    # Batches of 16 s on average, whose times differ by far more than jobs of 25 s allow for.
    plain = PLAIN | {"walltime_s": 25.0, "spread": 1.0}
    assert simulate(Setting(stimuli=16 * 200, wait_s=0, **FREE, **plain)).lost_share > 0.1
    with pytest.raises(ValueError, match="fits into a walltime"):
        simulate(Setting(walltime_s=23))


def test_table_is_printed_and_the_same_seed_gives_the_same_run(capsys):
    setting = Setting(stimuli=3200, workers=7)
    assert simulate(setting, 3) == simulate(setting, 3) != simulate(setting, 4)
    main(["--stimuli", "1600", "--seconds", "1", "--workers", "1", "10"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [("1", "1"), ("1", "10")]
    assert 7 < float(rows[1][3]) <= 10
