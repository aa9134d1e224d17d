"""Progress and time left of runs on a machine whose speed is known."""

from __future__ import annotations

import pytest
from run_manifests import tiny

from stimgen.manifest.plan import plan
from stimgen.networks.architectures import NETWORKS
from stimgen.runs.batches import evaluation_work, plan_batches
from stimgen.runs.progress import Progress
from stimgen.texture.presets import stages
from stimgen.texture.problem import Evaluation

ARCHITECTURE = NETWORKS["vgg16"]()
LAYER_SETS = {
    "conv1_1": ["conv1_1"],
    "pool1": ["conv1_1", "pool1"],
    "pool2": ["conv1_1", "pool1", "pool2"],
    "pool4": ["conv1_1", "pool1", "pool2", "pool3", "pool4"],
}
CONTROL_S, STIMULUS_S, FIRST_S = 0.2, 0.5, 4.0


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def evaluation_s(layers, size_px):
    """Seconds of an evaluation, about as a CPU takes them: 0.18 TFLOP/s, 0.2 G activations/s, and 2 ms."""
    flops = 2 * ARCHITECTURE.forward_flops(layers, size_px)
    return flops / 1.8e11 + ARCHITECTURE.activation_floats(layers, size_px) / 2e8 + 0.002


def anew(manifest):
    """Return what has to be done in a run of which nothing is there."""
    return {stimulus.stimulus_id: "synthesise" for stimulus in plan(manifest)}


def simulated(manifest, used):
    """Run a manifest with a share `used` of its evaluations; yield time, share and time left."""
    clock = Clock()
    progress = Progress(quiet=True, clock=clock)
    batches = plan_batches(manifest, plan(manifest), 1)
    with progress.run(manifest, batches, anew(manifest), shared=False, reached={}):
        for place, batch in enumerate(batches):
            with progress.batch(batch):
                clock.now += FIRST_S if place == 0 else 0.0
                layer_set = batch.stimuli[0].layer_set
                schedule = (
                    stages(manifest.synthesis, ARCHITECTURE, layer_set.layers, manifest.image.size_px)
                    if layer_set is not None
                    else []
                )
                for number, stage in enumerate(schedule, 1):
                    layers, size_px, most = stage.layers, stage.size_px, stage.evaluations
                    for count in range(1, max(round(used * most), 1) + 1):
                        clock.now += evaluation_s(layers, size_px)
                        progress.evaluation(
                            Evaluation(number, len(schedule), size_px, layers, count, most, [0], [0])
                        )
                    yield clock.now, progress.state.share, progress.state.left_s
                clock.now += STIMULUS_S if layer_set else CONTROL_S
            yield clock.now, progress.state.share, progress.state.left_s


def mixed(tmp_path):
    return tiny(
        tmp_path,
        image={"size_px": 128, "ppd": 41},
        layer_sets=LAYER_SETS,
        seeds=[1, 2, 3, 4],
        synthesis={"preset": "multiscale"},
    )


@pytest.mark.parametrize(("used", "most"), [(1.0, 1.9), (0.5, 2.6)])
def test_time_left_is_near_the_truth_from_the_shallow_batches_on(tmp_path, used, most):
    seen = list(simulated(mixed(tmp_path), used))
    whole = seen[-1][0]
    shares = [share for _, share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for now, _, left in seen:
        if left is not None:
            assert 0.8 * whole < now + left < most * whole, now
    assert seen[-1][2] == 0
    assert next(now for now, _, left in seen if left is not None) < 0.2 * whole
    for now, _, left in seen:
        if now > (0.5 if used == 1 else 0.75) * whole:
            assert now + left == pytest.approx(whole, rel=0.15)


def test_time_of_slow_controls_is_not_taken_for_synthesis(tmp_path):
    manifest = tiny(tmp_path, seeds=[1, 2], controls=["original", "phase_scrambled"])
    clock = Clock()
    progress = Progress(quiet=True, clock=clock)
    *controls, texture = plan_batches(manifest, plan(manifest), 1)[:4]
    with progress.run(manifest, [*controls, texture], anew(manifest), shared=False, reached={}):
        for batch in controls:
            with progress.batch(batch):
                clock.now += 100.0
        assert progress.state.left_s is None
        with progress.batch(texture):
            for number in range(1, 7):
                clock.now += 1.0
                progress.evaluation(Evaluation(1, 1, 32, ("conv1_1",), number, 100, [0], [0]))
            work = progress._work[texture]
            done = 6 * evaluation_work("vgg16", ("conv1_1",), 32)
            assert progress.state.left_s == pytest.approx(6 * (work - done) / done, abs=1)


def test_two_workers_take_half_the_time(tmp_path):
    manifest = tiny(tmp_path, seeds=list(range(1, 13)), layer_sets={"a": ["conv1_1"]}, controls=[])
    batches, clock = plan_batches(manifest, plan(manifest), 1), Clock()
    progress = Progress(quiet=True, clock=clock)
    with progress.run(manifest, batches, anew(manifest), shared=False, reached={}):
        for number in (0, 1):
            progress.sent(number, batches[number])
            progress.reported(number, 0.0)
        for share in (0.25, 0.5):
            clock.now += 4.0
            for number in (0, 1):
                progress.reported(number, share)
            progress.waiting()
        # Of 12 batches one is done in sum; two workers make a quarter of a batch each in 4 s.
        assert progress.state.share == pytest.approx(1 / 12)
        assert progress.state.left_s == pytest.approx(11 * 8)
        assert progress.state.batch.name == "2 workers at work"
        assert progress.expected_s(batches[5]) is None
        progress.completed(0, batches[0], 16.0)
        progress.reported(0, 0.9)  # too late to count
        assert progress.expected_s(batches[5]) == pytest.approx(16)
        clock.now += 1.0
        progress.waiting()
        assert progress.state.share == pytest.approx(1.5 / 12)


def test_expected_time_of_a_control_is_that_of_the_same_control(tmp_path):
    manifest = tiny(tmp_path, seeds=[1, 2], controls=["original", "phase_scrambled"])
    original, first, second, *_, texture = plan_batches(manifest, plan(manifest), 1)
    progress = Progress(quiet=True, clock=Clock())
    with progress.run(manifest, [original, first, second, texture], anew(manifest), shared=False, reached={}):
        for number, batch in enumerate((original, first)):
            progress.sent(number, batch)
            progress.completed(number, batch, 1.0 + number)
        assert progress.expected_s(second) == 2.0
        assert progress.expected_s(texture) is None
