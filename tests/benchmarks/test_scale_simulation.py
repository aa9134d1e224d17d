"""The simulation of many workers against what can be computed by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks.scale_simulation import Setting, main, simulate

PLAIN = {"spread": 0.0, "preemptions_per_s": 0.0, "walltime_s": math.inf}
HANDLING = Setting.batch_s + 16 * Setting.record_s


def test_one_worker_takes_the_sum_of_all_times():
    found = simulate(Setting(stimuli=1600, stimulus_s=2, **PLAIN))
    assert found.seconds == pytest.approx(1600 * 2 + 100 * HANDLING + 1600 * Setting.table_s)
    assert found.lost_share == 0


@pytest.mark.parametrize("workers", [1, 2, 5, 100])
def test_without_a_driver_workers_share_the_work(workers):
    free = {"record_s": 0, "batch_s": 0, "table_s": 0}
    found = simulate(Setting(stimuli=1600, workers=workers, **free, **PLAIN))
    assert found.seconds == pytest.approx(1600 / workers)


def test_too_many_workers_wait_for_the_driver():
    setting = Setting(stimuli=160_000, stimulus_s=0.1, workers=2000, table_s=0, **PLAIN)
    found = simulate(setting)
    assert found.seconds == pytest.approx(10_000 * HANDLING, rel=0.02)
    assert found.driver_share == pytest.approx(1, abs=0.02)


def test_preemptions_cost_what_a_memoryless_process_costs():
    rate, batch, wait = 1 / 40, 16.0, 5.0
    plain = PLAIN | {"preemptions_per_s": rate}
    setting = Setting(stimuli=16 * 20_000, wait_s=wait, record_s=0, batch_s=0, table_s=0, **plain)
    each = simulate(setting).seconds / 20_000
    # Attempts until one is not preempted: mean time (e^rb - 1) / r, and a wait after each that is.
    assert each == pytest.approx((math.exp(rate * batch) - 1) * (1 / rate + wait), rel=0.02)


def test_jobs_end_and_others_begin():
    free = {"record_s": 0, "batch_s": 0, "table_s": 0}
    # Five batches of 16 s in 100 s: after the fifth, 20 s are left, and 24 s would be needed.
    setting = Setting(stimuli=16 * 10, wait_s=30, **free, **PLAIN | {"walltime_s": 100.0})
    assert simulate(setting).seconds == pytest.approx(100 + 30 + 5 * 16)
    with pytest.raises(ValueError, match="fits into a walltime"):
        simulate(Setting(walltime_s=23))


def test_what_a_job_does_not_finish_is_lost():
    free = {"record_s": 0, "batch_s": 0, "table_s": 0}
    # Batches of 16 s on average, whose times differ by far more than jobs of 25 s allow for.
    plain = PLAIN | {"walltime_s": 25.0, "spread": 1.0}
    found = simulate(Setting(stimuli=16 * 200, wait_s=0, **free, **plain))
    assert found.lost_share > 0.1
    steady = simulate(Setting(stimuli=16 * 200, wait_s=0, **free, **plain | {"spread": 0.0}))
    assert steady.seconds == pytest.approx(200 * 25 - 9)  # one batch in each job


def test_a_job_that_ends_while_the_driver_is_busy_is_followed_by_the_next_in_time():
    # The driver takes 100 s for a batch, so that each job has ended, and the next begun, before it is done.
    slow = {"record_s": 0, "batch_s": 100.0, "table_s": 0}
    found = simulate(Setting(stimuli=16 * 10, wait_s=30, **slow, **PLAIN | {"walltime_s": 24.0}))
    assert found.seconds == pytest.approx(10 * (16 + 100))
    assert found.lost_share == 0


def test_the_same_seed_gives_the_same_run():
    setting = Setting(stimuli=3200, workers=7)
    assert simulate(setting, 3) == simulate(setting, 3) != simulate(setting, 4)


def test_the_table_is_printed(capsys):
    main(["--stimuli", "1600", "--seconds", "1", "--workers", "1", "10"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [("1", "1"), ("1", "10")]
    assert float(rows[0][3]) == 1
    assert 7 < float(rows[1][3]) <= 10


def test_the_simulation_uses_what_was_measured():
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    each = re.search(
        r"([0-9.]+) ms per batch, ([0-9.]+) ms per stimulus", (results / "driver.txt").read_text()
    )
    assert each is not None
    assert (Setting.batch_s, Setting.record_s) == pytest.approx([float(one) / 1000 for one in each.groups()])
    tables = re.findall(r"([0-9.]+) ms", (results / "large.txt").read_text())
    assert Setting.table_s == pytest.approx(float(tables[-1]) / 1000, abs=0.0005)
    # The largest set that was measured, and what was simulated.
    assert "100000 " in (results / "large.txt").read_text()
    printed = (results / "scale_simulation.txt").read_text().splitlines()[1]
    found = simulate(Setting(stimulus_s=0.1, workers=1))
    assert printed.split()[:3] == ["0.1", "1", f"{found.seconds / 3600:.2f}"]
