"""A synthesis that is resumed from a checkpoint ends as one that was never interrupted, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from texture_problems import random_network

from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.multiscale import synthesise_together
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.synthesis import synthesise

PRESET = Multiscale(smallest_px=16, evaluations=(4, 6), shallow_evaluations=(3,), plain_evaluations=3)
DEEP, SHALLOW = {"conv1_1": 1.0, "pool1": 1.0, "pool2": 2.0}, {"conv1_1": 1.0}
STAGES = [(16, 1), (32, 0), (32, 1), (32, 2)]
"""Side and rung of the stages of DEEP; SHALLOW begins at full size."""


class Memory:
    """Checkpoints in memory; `given` is what is found by problems with these names."""

    def __init__(self, given=None):
        self.given = given or {}
        self.saved = {}

    def load(self, problems):
        return self.given.get(tuple(problem.name for problem in problems))

    def save(self, problems, checkpoint):
        self.saved.setdefault(tuple(problem.name for problem in problems), []).append(checkpoint)


def problems(seed):
    """Two problems of one source; with another seed, only their noise differs."""
    goal = SourceImage(np.random.default_rng(0).random((32, 32, 3), np.float32))
    return [
        Problem(goal, weighted_terms(layers), np.random.default_rng(seed + place), name=name)
        for place, (name, layers) in enumerate({"deep": DEEP, "shallow": SHALLOW}.items())
    ]


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.image.tobytes() == theirs.image.tobytes()
        for name in ("loss", "stop_reason", "restarts", "evaluations", "iterations"):
            assert getattr(ours, name) == getattr(theirs, name)
        for trace, other in zip(ours.traces, theirs.traces, strict=True):
            for name, value in vars(trace).items():
                np.testing.assert_array_equal(value, getattr(other, name))


def test_a_batch_is_resumed_from_every_stage():
    memory, network = Memory(), random_network()
    expected = synthesise_together(problems(1), network, PRESET, checkpoints=memory)
    ((names, checkpoints),) = memory.saved.items()
    assert names == ("deep", "shallow")
    assert [(checkpoint.size_px, checkpoint.rung) for checkpoint in checkpoints] == STAGES
    for place, checkpoint in enumerate(checkpoints):
        evaluations = []
        again = Memory({names: checkpoint})
        # A problem that has begun does not use its noise again; one that has not draws it.
        begun = [reached.image is not None for reached in checkpoint.reached]
        assert begun == [True, place >= 2]
        asked = [o if b else a for a, o, b in zip(problems(1), problems(50), begun, strict=True)]
        found = synthesise_together(asked, network, PRESET, evaluations.append, again)
        assert_same(found, expected)
        later = [(reached.size_px, reached.rung) for reached in again.saved.get(names, [])]
        assert later == STAGES[place + 1 :]
        assert len(evaluations) <= sum([4, 3, 6, 3][place + 1 :])


def test_on_a_cpu_each_texture_has_its_own_checkpoints():
    memory = Memory()
    expected = synthesise(problems(1), random_network(), PRESET)
    assert_same(synthesise(problems(1), random_network(), PRESET, checkpoints=memory), expected)
    assert {names: len(saved) for names, saved in memory.saved.items()} == {("deep",): 4, ("shallow",): 2}
    again = Memory({("shallow",): memory.saved["shallow",][-1]})
    assert_same(synthesise(problems(1), random_network(), PRESET, checkpoints=again), expected)
    assert again.saved.keys() == {("deep",)}


@pytest.mark.gpu
def test_on_a_gpu_a_batch_is_resumed_from_every_stage():
    network = build_extractor(find_weights("vgg16", "random:3"), deepest="pool2", device="cuda:0")
    memory = Memory()
    expected = synthesise(problems(1), network, PRESET, checkpoints=memory)
    ((names, checkpoints),) = memory.saved.items()
    for checkpoint in checkpoints:
        found = synthesise(problems(1), network, PRESET, checkpoints=Memory({names: checkpoint}))
        assert_same(found, expected)
