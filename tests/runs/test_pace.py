"""The share that is done, and the time left, of runs on a machine whose speed is known."""

from __future__ import annotations

import pytest
from run_manifests import tiny

from stimgen.manifest.plan import plan
from stimgen.networks.architectures import NETWORKS
from stimgen.runs import checkpoints
from stimgen.runs.batches import plan_batches
from stimgen.runs.pace import Pace, batch_work, evaluation_work
from stimgen.runs.progress import Progress
from stimgen.runs.runner import run
from stimgen.texture.problem import Evaluation
from stimgen.texture.schedule import stages

ARCHITECTURE = NETWORKS["vgg16"]()
LAYER_SETS = {
    "conv1_1": ["conv1_1"],
    "pool1": ["conv1_1", "pool1"],
    "pool2": ["conv1_1", "pool1", "pool2"],
    "pool4": ["conv1_1", "pool1", "pool2", "pool3", "pool4"],
}
CONTROL_S, STIMULUS_S, FIRST_S = 0.2, 0.5, 4.0


class Losses:
    """As many losses as `len` says."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def evaluation_s(layers, size_px):
    """Seconds of an evaluation, about as a CPU takes them: 0.18 TFLOP/s, 0.2 G activations/s, and 2 ms."""
    flops = 2 * ARCHITECTURE.forward_flops(layers, size_px)
    return flops / 1.8e11 + ARCHITECTURE.activation_floats(layers, size_px) / 2e8 + 0.002


def simulated(manifest, used):
    """Run a manifest with a share `used` of its evaluations; yield time, share and time left."""
    pace, now = Pace(), 0.0
    batches = plan_batches(manifest, plan(manifest), 1)
    names = {stimulus.stimulus_id for stimulus in plan(manifest)}
    pace.begin(manifest, batches, names, shared=False, reached={})
    for place, batch in enumerate(batches):
        pace.enter(batch, now)
        layer_set = batch.stimuli[0].layer_set
        now += FIRST_S if place == 0 else 0.0
        if layer_set is not None:
            plan_of_it = stages(manifest.synthesis, ARCHITECTURE, layer_set.layers, manifest.image.size_px)
            for number, stage in enumerate(plan_of_it, 1):
                layers, size_px, most = stage.layers, stage.size_px, stage.evaluations
                for count in range(1, max(round(used * most), 1) + 1):
                    now += evaluation_s(layers, size_px)
                    evaluation = Evaluation(
                        number, len(plan_of_it), size_px, layers, count, most, Losses(1), 0
                    )
                    pace.evaluated(evaluation, "vgg16", now)
                yield now, pace.share, pace.seconds_left()
        now += STIMULUS_S if layer_set else CONTROL_S
        pace.made(now)
        pace.leave(now)
        yield now, pace.share, pace.seconds_left()


def mixed(tmp_path):
    return tiny(
        tmp_path,
        image={"size_px": 128, "ppd": 41},
        layer_sets=LAYER_SETS,
        seeds=[1, 2, 3, 4],
        synthesis={"preset": "multiscale"},
    )


@pytest.mark.parametrize("used", [1.0, 0.5])
def test_the_time_left_is_near_the_truth_from_the_shallow_batches_on(tmp_path, used):
    seen = list(simulated(mixed(tmp_path), used))
    whole = seen[-1][0]
    shares = [share for _, share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    # Before a deep texture is finished, nothing says that it stops early.
    most = 1.9 if used == 1 else 2.6
    for now, _, left in seen:
        if left is not None:
            assert 0.8 * whole < now + left < most * whole, now
    assert seen[-1][2] == pytest.approx(0, abs=1e-6)
    stated = [now for now, _, left in seen if left is not None]
    assert stated[0] < 0.2 * whole
    # Half of the time has gone by, or the first deep texture is done and has shown what it uses.
    for now, _, left in seen:
        if now > (0.5 if used == 1 else 0.75) * whole:
            assert now + left == pytest.approx(whole, rel=0.15)


def test_operations_alone_would_swing(tmp_path, monkeypatch):
    """What counts activations is needed: without it, the same run begins with several times its length."""
    monkeypatch.setattr("stimgen.runs.pace.WORK_PER_ACTIVATION", 0)
    evaluation_work.cache_clear()
    try:
        seen = list(simulated(mixed(tmp_path), 1.0))
    finally:
        evaluation_work.cache_clear()
    assert max(now + left for now, _, left in seen if left is not None) > 2.5 * seen[-1][0]


def test_slow_controls_are_not_taken_for_textures(tmp_path):
    manifest = tiny(tmp_path, seeds=[1, 2, 3], controls=["original", "phase_scrambled"])
    batches = plan_batches(manifest, plan(manifest), 1)
    pace = Pace()
    names = {stimulus.stimulus_id for stimulus in plan(manifest)}
    pace.begin(manifest, batches, names, shared=False, reached={})
    assert pace.seconds_left() is None
    now = 0.0
    for batch, seconds in zip(batches[:2], (1.0, 100.0), strict=True):
        pace.enter(batch, now)
        now += seconds
        pace.made(now)
        pace.leave(now)
    assert pace.seconds_left() is None  # nothing was synthesised yet
    pace.enter(batches[4], now)
    for number in range(1, 12):
        now += 1.0
        pace.evaluated(Evaluation(1, 1, 32, ("conv1_1",), number, 100, Losses(1), 0), "vgg16", now)
    left = pace.seconds_left()
    work = pace.total - pace.done
    assert left == pytest.approx(2 * 100 + work * 1.0 / evaluation_work("vgg16", ("conv1_1",), 32))


class Counted(Progress):
    """Adds up the work of all evaluations, and interrupts instead of the one with the number `at`."""

    def __init__(self, at=None):
        super().__init__(quiet=True)
        self.at, self.number, self.work = at, 0, 0.0

    def evaluation(self, evaluation):
        if self.number == self.at:
            raise KeyboardInterrupt
        self.number += 1
        self.work += len(evaluation.losses) * evaluation_work("vgg16", evaluation.layers, evaluation.size_px)
        super().evaluation(evaluation)


def test_a_run_that_goes_on_counts_only_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    manifest = tiny(
        tmp_path,
        layer_sets={"pool1": ["conv1_1", "pool1"]},
        synthesis={"smallest_px": 16, "evaluations": [5, 5], "plain_evaluations": 4, "stop_distance": 0},
        controls=["original"],
    )
    whole = sum(
        batch_work(manifest, batch, shared=False, reached={})
        for batch in plan_batches(manifest, plan(manifest), 1)
    )
    first = Counted(at=14 + 6)  # in the second stage of the second texture
    with pytest.raises(KeyboardInterrupt):
        run(manifest, progress=first)
    assert first._pace.total == pytest.approx(whole)
    again = Counted()
    assert run(manifest, progress=again).made == 1
    assert again.number == 9
    assert again._pace.total == pytest.approx(again.work)
    assert again.work < 0.5 * whole
    assert again._pace.share == pytest.approx(1)
