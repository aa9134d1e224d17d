"""A batch on a GPU that is not there: which tensors are where, and when the host waits for one.

Fake tensors have a device and a shape and no numbers. An operation on tensors of two devices raises.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from texture_problems import LAYERS, problem, random_network, texture
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stimgen.measure.gram import source_grams, stage_distances
from stimgen.texture import synthesis
from stimgen.texture.lbfgs import LOOK_EVERY, minimise
from stimgen.texture.presets import Multiscale
from stimgen.texture.problem import Reached

STEPS = LOOK_EVERY + 2
PRESET = Multiscale(smallest_px=32, evaluations=(STEPS, STEPS), shallow_evaluations=(3,), stop_distance=0)


class Traffic(TorchDispatchMode):
    """Counts what goes from the GPU to the host, and what comes from there."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()  # also operations that take tensors of both

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            if args[0].device.type == "cuda":
                self.seen["number read"] += 1
            return args[0].dtype.is_floating_point or args[0].dtype == torch.bool or 1
        inputs = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.ndim]
        self.seen["two devices"] += len({one.device.type for one in inputs}) > 1
        found = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and args[0].device != found.device:
            self.seen[f"to the {'host' if found.device.type == 'cpu' else 'GPU'}"] += 1
        return found


@pytest.fixture
def traffic(monkeypatch):
    """What passes between the host and a fake GPU, on which there are no backward passes."""
    monkeypatch.setattr(synthesis, "descent_dtype", lambda precision, extractor: torch.bfloat16)
    monkeypatch.setattr(torch.autograd, "grad", lambda losses, images: (torch.empty_like(images),))
    with FakeTensorMode(allow_non_fake_inputs=True), Traffic() as seen:
        yield seen.seen


def fake_network():
    return random_network().to("cuda:0")


@contextmanager
def counted(traffic):
    """Yield the traffic of a block alone."""
    before, inside = traffic.copy(), Counter()
    yield inside
    inside.update(traffic - before)


def test_an_iteration_reads_nothing_back_and_every_tenth_looks_once(traffic, monkeypatch):
    """Whole batches of textures of several layer sets, in colour and without."""
    found, dtypes = [], set()

    def watched(objective, start, **settings):
        dtypes.add((objective.extractor.device.type, objective.extractor.dtype))
        with counted(traffic) as inside:
            minimum = minimise(objective, start, **settings)
        known = vars(minimum) | vars(minimum.memory)
        assert {t.device.type for t in known.values() if isinstance(t, torch.Tensor)} == {"cuda"}
        looks = (settings["evaluations"] - 1) // LOOK_EVERY
        found.append((len(start), inside, looks))
        return minimum

    def keep(work, stage, precision, minimum, place):
        work.reached = Reached(minimum.images[place : place + 1])

    monkeypatch.setattr(synthesis, "minimise", watched)
    monkeypatch.setattr(synthesis._Work, "keep", keep)
    monkeypatch.setattr(synthesis._Work, "result", lambda work: work.reached.image)
    kinds = [(LAYERS, False), (LAYERS[:2], False), (LAYERS, True), (LAYERS, False)]
    problems = [problem("coffee", layers, seed, color=color) for seed, (layers, color) in enumerate(kinds)]
    images = synthesis.synthesise(problems, fake_network(), PRESET)
    assert [(image.device.type, *image.shape) for image in images] == [
        ("cuda", 1, 3 if color else 1, 64, 64) for _, color in kinds
    ]
    assert dtypes == {("cuda", torch.bfloat16), ("cuda", torch.float32)}
    assert {batch for batch, *_ in found} == {1, 2, 3}  # not all have shallow stages
    for _, inside, looks in found:
        assert inside == {"number read": looks} if looks else not inside
    assert {looks for *_, looks in found} == {0, 1}


def test_reading_inside_an_iteration_is_seen(traffic):
    start = torch.rand(2, 1, 8, 8, device="cuda")
    bounds = torch.zeros(2, device="cuda"), torch.ones(2, device="cuda")

    def objective(points):
        return points.square().sum(dim=(1, 2, 3)), 2 * points

    for hook, seen in (
        (lambda losses: losses.max().item(), "number read"),
        (lambda losses: losses.cpu(), "to the host"),
        (lambda losses: start[torch.tensor([1])], "two devices"),
    ):
        with counted(traffic) as inside:
            minimise(
                objective,
                start,
                lower=bounds[0],
                upper=bounds[1],
                evaluations=7,
                history=3,
                after_evaluation=hook,
            )
        assert inside == {seen: 7}


def test_tensors_of_two_devices_do_not_meet(traffic):
    network = fake_network()
    mixed = replace(network, shift=network.shift.cpu())
    with pytest.raises(RuntimeError, match="device"):
        mixed.features(torch.rand(1, 3, 32, 32, device="cuda"), ["conv1_1"])


def test_measurements_compute_on_the_gpu(traffic):
    images = [texture("coffee", 64), np.float32(0.5) * texture("coffee", 64)]
    with counted(traffic) as inside:
        grams = source_grams(fake_network(), images[0], LAYERS, images)
        values = stage_distances(images[1], grams)
    assert {target.device.type for target in grams.targets.values()} == {"cuda"}
    assert {f"gram_relative_{layer}" for layer in LAYERS} <= values.keys()
    assert inside["to the GPU"]
    assert not inside["to the host"] + inside["two devices"]
