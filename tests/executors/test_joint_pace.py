"""The share that is done and the time that is left, where several workers are at work."""

from __future__ import annotations

import pytest

from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.runs.batches import plan_batches
from stimgen.runs.joint_pace import JointPace


@pytest.fixture
def batches(bench):
    manifest = load_manifest(bench.manifest)
    return plan_batches(manifest, plan(manifest), 1)


def test_two_workers_take_half_the_time(batches):
    now = [0.0]
    textures = [batch for batch in batches if batch.stimuli[0].control is None]
    pace = JointPace(dict.fromkeys(textures, 10.0), lambda: now[0])
    assert pace.seconds_left() is None
    for number in (0, 1):
        pace.sent(number, textures[number])
        pace.told(number, 0.0)
    now[0] = 4.0
    for number in (0, 1):
        pace.told(number, 0.5)
    # Of 12 batches one is done in sum, in 8 s of a worker's time; 11 are left for two.
    assert pace.share == pytest.approx(1 / len(textures))
    assert pace.seconds_left() == pytest.approx((len(textures) - 1) * 8 / 2)
    assert pace.busy == 2
    for number in (0, 1):
        pace.landed(number, textures[number], 8.0)
        pace.landed(number, textures[number], 8.0)  # a batch that came twice counts once
        pace.told(number, 0.9)  # a late word
    assert pace.share == pytest.approx(2 / len(textures))
    assert pace.expected_s(textures[5]) == pytest.approx(8)
    assert pace.busy == 0


def test_what_is_no_synthesis_counts_by_its_time(batches):
    controls = [batch for batch in batches if batch.stimuli[0].control is not None]
    pace = JointPace(dict.fromkeys(controls, 0.0), lambda: 0.0)
    assert (pace.share, pace.expected_s(controls[0])) == (0.0, None)
    same = [batch for batch in controls if batch.stimuli[0].condition == "phase_scrambled"]
    pace.sent(0, same[0])
    pace.landed(0, same[0], 2.0)
    assert pace.expected_s(same[1]) == 2.0
    pace.sent(1, same[1])
    pace.told(1, 0.0)
    assert pace.seconds_left() == pytest.approx(2.0 * (len(same) - 1))
