"""Objective and presets against straightforward implementations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from texture_problems import LAYERS, objective_of, problem, random_network, source_of, texture
from torch import Tensor

from stimgen.images.read import read_image
from stimgen.images.sources import shrink
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.objective import to_batch
from stimgen.texture.presets import Gatys2015, Multiscale, Stage
from stimgen.texture.problem import Problem, Reached, SourceImage
from stimgen.texture.statistic import Term, weighted_terms
from stimgen.texture.statistics.gram import Gram, gram_matrices, relative_gram_distance
from stimgen.texture.synthesis import (
    _adapted_floors,
    _Work,
    decorrelated,
    start_matrix,
    synthesise,
    synthesise_together,
)

CHAIN = "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3"
MEAN = (123.68, 116.779, 103.939)
QUICK = Multiscale(smallest_px=16, evaluations=(15, 15), precision="float32")


def plain_loss(image: Tensor, source: Tensor) -> Tensor:
    """The loss of the paper in a few lines, written from the formulas: images (1, 3, H, W), 0..1, float64."""
    network = random_network(torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    maps, depth = [network.gain * x + network.shift for x in (image, source)], 0
    for layer in CHAIN.split():
        if layer.startswith("pool"):
            maps = [F.avg_pool2d(x, 2) for x in maps]
        else:
            kernel, bias = network.kernels[depth], network.biases[depth]
            maps = [torch.relu(F.conv2d(x, kernel, bias, padding=1)) for x in maps]
            depth += 1
        if layer in LAYERS:
            flat = [x.flatten(2)[0] for x in maps]
            grams = [torch.einsum("im,jm->ij", x, x) / x.shape[1] for x in flat]
            total = total + ((grams[0] - grams[1]) ** 2).sum() / (4 * grams[0].shape[0] ** 2)
    return total


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_loss_and_gradient_are_those_of_a_plain_float64_implementation(name: str) -> None:
    """At the published start: standard normal noise around the ImageNet mean."""
    ours = problem(name, LAYERS, 1, color=name == "coffee")
    source = to_batch([source_of(ours)], "cpu").double()
    noise = np.random.default_rng(1).standard_normal(source.shape)
    mean = MEAN if name == "coffee" else np.mean(MEAN)
    image = torch.from_numpy(noise + np.reshape(mean, (1, -1, 1, 1))) / 255
    image = image.float().double().requires_grad_()
    expected = plain_loss(image.expand(1, 3, 64, 64), source.expand(1, 3, 64, 64))
    (expected_gradient,) = torch.autograd.grad(expected, image)
    # Rounding can turn a ReLU on or off, which the gradient feels more than the loss.
    for precision, in_loss, in_gradient in ((torch.float64, 1e-9, 1e-8), (torch.float32, 1e-5, 1e-3)):
        loss, gradient = objective_of(ours, random_network(precision))(image.detach().to(precision))
        assert loss.item() == pytest.approx(expected.item(), rel=in_loss)
        error = torch.linalg.norm(gradient - expected_gradient) / torch.linalg.norm(expected_gradient)
        assert error < in_gradient


def test_gatys2015_ends_where_a_plain_procedure_does() -> None:
    """L-BFGS-B on the plain implementation, grey and from the same noise."""
    source, iterations, offset = texture("gravel", 32), 10, np.mean(MEAN)
    ours = problem("gravel", LAYERS, 3, size_px=32)
    (result,) = synthesise([ours], random_network(torch.float64), Gatys2015(iterations=iterations))
    goal = torch.from_numpy(source.astype(np.float64)).expand(1, 3, 32, 32)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        plane = torch.from_numpy(point).view(1, 1, 32, 32).requires_grad_()
        loss = 1e9 * plain_loss((plane + offset).expand(1, 3, 32, 32) / 255, goal)
        (gradient,) = torch.autograd.grad(loss, plane)
        return loss.item(), gradient.numpy().ravel()

    noise = np.random.default_rng(3).standard_normal(source.size)
    pixels = source.astype(np.float64) * 255 - offset
    expected = minimize(
        objective,
        noise,
        jac=True,
        method="L-BFGS-B",
        bounds=[(pixels.min(), pixels.max())] * noise.size,
        options={"maxcor": 20, "maxiter": iterations, "ftol": 0, "gtol": 0},
    )
    assert result.iterations == expected.nit == iterations
    assert result.evaluations == expected.nfev
    assert result.loss == pytest.approx(expected.fun / 1e9, rel=0.02)
    assert result.stop_reason == "iterations"


def test_bounds_of_gatys2015_are_those_of_the_source_in_network_space() -> None:
    ours = problem("coffee", ["conv1_1"], 0, size_px=32, color=True)
    (result,) = synthesise([ours], random_network(), Gatys2015(iterations=20))
    space = source_of(ours).astype(np.float64) * 255 - MEAN
    reached = result.image.astype(np.float64) * 255 - MEAN
    assert reached.min() >= space.min() - 1e-3
    assert reached.max() <= space.max() + 1e-3
    assert reached.max() > 0.9 * space.max()


MIXED: tuple[Callable[[], Problem], ...] = (
    lambda: problem("brick", LAYERS, 1, size_px=32),
    lambda: problem("gravel", LAYERS[:2], 2, size_px=32),
    lambda: problem("grass", LAYERS[:1], 1, size_px=32),
)


def test_on_a_cpu_a_texture_is_the_same_in_any_batch() -> None:
    shared = synthesise([make() for make in MIXED], random_network(), QUICK)
    for make, ours in zip(MIXED, shared, strict=True):
        (alone,) = synthesise([make()], random_network(), QUICK)
        assert np.array_equal(ours.image, alone.image)
        assert ours.loss == alone.loss


def test_synthesis_reduces_the_loss_and_keeps_the_bounds() -> None:
    preset = Multiscale(smallest_px=32, evaluations=(30, 30), shallow_evaluations=(9, 8), stop_distance=0)
    ours = problem("brick", LAYERS, 1)
    (result,) = synthesise([ours], random_network(), preset)
    objective = objective_of(ours, random_network())
    assert objective.loss(to_batch([result.image], "cpu")).item() == pytest.approx(result.loss, rel=1e-4)
    noise = np.random.default_rng(0).normal(0.4, 0.05, (64, 64)).astype(np.float32)
    assert result.loss < objective.loss(to_batch([noise], "cpu")).item() / 100
    assert result.image.min() >= source_of(ours).min()
    assert result.image.max() <= source_of(ours).max()
    assert result.evaluations == 30 + 9 + 8 + 30 + 6
    assert (result.restarts, result.stop_reason) == (0, "evaluations")


@pytest.mark.parametrize("color", [False, True], ids=["grey", "rgb"])
def test_same_seed_gives_same_image(color: bool) -> None:
    preset = Multiscale(smallest_px=16, evaluations=(5, 5))
    first, again, other = (
        synthesise([problem("coffee", LAYERS[:2], seed, 32, color)], random_network(), preset)[0].image
        for seed in (1, 1, 2)
    )
    assert first.shape == ((32, 32, 3) if color else (32, 32))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_a_descent_in_bfloat16_ends_in_float32() -> None:
    preset = Multiscale(smallest_px=16, evaluations=(10, 10), precision="bfloat16")
    ours = problem("gravel", LAYERS[:3], 1, size_px=32)
    (result,) = synthesise([ours], random_network(), preset)
    reached = objective_of(ours, random_network()).loss(to_batch([result.image], "cpu")).item()
    assert reached == pytest.approx(result.loss, rel=1e-4)
    assert {trace.precision for trace in result.traces[:-1]} == {"bfloat16"}
    assert result.traces[-1].precision == "float32"
    assert [trace.metric for trace in result.traces[-2:]] == ["flat", "plain"]


def test_the_metric_follows_the_distance_of_the_texture() -> None:
    """Half the relative distance of each layer is added to its eigenvalues, from 0.01 to 0.3."""
    ours, network = problem("gravel", LAYERS, 1), random_network()
    work = _Work(ours, ours.goal.pixels(network), {})
    stage = Stage(64, 0, 0, LAYERS, 1, enlarged=False, plain=False, floor=None)
    features = ours.goal.features(network, ours.terms, 0)
    source = to_batch([source_of(ours)], "cpu")
    for share in (0.0, 0.05, 0.3, 1.0):
        blurred = (1 - share) * source + share * source.mean()
        work.reached = Reached(blurred)
        floors = _adapted_floors(work, stage, network, features)
        for layer in LAYERS:
            gram, goal = (
                gram_matrices(network, image, [layer])[layer].double().numpy() for image in (blurred, source)
            )
            half = 0.5 * np.linalg.norm(gram - goal) / np.linalg.norm(goal)
            assert floors[Term(layer, Gram())] == pytest.approx(np.clip(half, 0.01, 0.3), rel=1e-4)
        assert (max(floors.values()) == 0.01) == (share == 0)


def test_a_stage_ends_at_the_stop_distance() -> None:
    preset = Multiscale(smallest_px=32, evaluations=(200,), stop_distance=0.05, precision="float32")
    ours = problem("gravel", LAYERS[:2], 1)
    (result,) = synthesise([ours], random_network(), preset)
    objective = objective_of(ours, random_network())
    assert result.stop_reason == "stop distance"
    assert result.evaluations < 200
    assert result.loss <= preset.stop_distance**2 * objective.loss_of_zero().item() * (1 + 1e-5)
    assert all(trace.losses[-2] > trace.losses[-1] for trace in result.traces if len(trace.losses) > 1)


# --- checkpoints: a resumed synthesis ends as one that was never interrupted, to the last bit ------------

STAGED = Multiscale(smallest_px=16, evaluations=(4, 6), shallow_evaluations=(3,), plain_evaluations=3)
DEEP, SHALLOW = {"conv1_1": 1.0, "pool1": 1.0, "pool2": 2.0}, {"conv1_1": 1.0}
STAGES = [(16, 1), (32, 0), (32, 3)]
"""Side and rung of the stages of DEEP that leave a checkpoint; SHALLOW begins at full size."""


class Memory:
    """Checkpoints in memory; `given` is what is found by problems with these names."""

    def __init__(self, given=None):
        self.given = given or {}
        self.saved = {}

    def load(self, problems):
        return self.given.get(tuple(problem.name for problem in problems))

    def save(self, problems, checkpoint):
        self.saved.setdefault(tuple(problem.name for problem in problems), []).append(checkpoint)


def deep_and_shallow(seed):
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
    expected = synthesise_together(deep_and_shallow(1), network, STAGED, checkpoints=memory)
    ((names, checkpoints),) = memory.saved.items()
    assert names == ("deep", "shallow")
    assert [(checkpoint.size_px, checkpoint.rung) for checkpoint in checkpoints] == STAGES
    for place, checkpoint in enumerate(checkpoints):
        evaluations = []
        again = Memory({names: checkpoint})
        # A problem that has begun does not use its noise again; one that has not draws it.
        begun = [reached.image is not None for reached in checkpoint.reached]
        assert begun == [True, place >= 2]
        asked = [
            o if b else a for a, o, b in zip(deep_and_shallow(1), deep_and_shallow(50), begun, strict=True)
        ]
        found = synthesise_together(asked, network, STAGED, evaluations.append, again)
        assert_same(found, expected)
        later = [(reached.size_px, reached.rung) for reached in again.saved.get(names, [])]
        assert later == STAGES[place + 1 :]
        assert len(evaluations) <= sum([4, 3, 9][place + 1 :])


def test_on_a_cpu_each_texture_has_its_own_checkpoints():
    memory = Memory()
    expected = synthesise(deep_and_shallow(1), random_network(), STAGED)
    assert_same(synthesise(deep_and_shallow(1), random_network(), STAGED, checkpoints=memory), expected)
    assert {names: len(saved) for names, saved in memory.saved.items()} == {("deep",): 3, ("shallow",): 1}
    again = Memory({("shallow",): memory.saved["shallow",][-1]})
    assert_same(synthesise(deep_and_shallow(1), random_network(), STAGED, checkpoints=again), expected)
    assert again.saved.keys() == {("deep",)}


@pytest.mark.gpu
def test_on_a_gpu_a_batch_is_resumed_from_every_stage():
    network = build_extractor(find_weights("vgg16", "random:3"), deepest="pool2", device="cuda:0")
    memory = Memory()
    expected = synthesise(deep_and_shallow(1), network, STAGED, checkpoints=memory)
    ((names, checkpoints),) = memory.saved.items()
    for checkpoint in checkpoints:
        found = synthesise(deep_and_shallow(1), network, STAGED, checkpoints=Memory({names: checkpoint}))
        assert_same(found, expected)


@pytest.mark.gpu
def test_a_gpu_gives_the_losses_of_the_cpu() -> None:
    preset = Multiscale(smallest_px=16, evaluations=(30, 30), precision="float32")
    for make in MIXED:
        (cpu,) = synthesise([make()], random_network(), preset)
        (gpu,) = synthesise([make()], random_network().to("cuda"), preset)
        np.testing.assert_allclose(gpu.traces[0].losses[:5], cpu.traces[0].losses[:5], rtol=1e-3)
        assert gpu.loss == pytest.approx(cpu.loss, rel=0.05)


@pytest.mark.slow
def test_textures_have_the_contrast_of_their_middle_at_the_border() -> None:
    """At 96 px, textures that started at full size had 0.78 of it."""
    layers = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
    weights = find_weights("vgg16", "imagenet")
    network = build_extractor(weights, padding="mirrored", deepest="pool4")
    ratios = []
    for name in ("gravel", "grass"):
        source = shrink(read_image(f"skimage:{name}").pixels[:192, :192], 96)[0]
        for seed in (1, 2):
            terms = weighted_terms(dict.fromkeys(layers, 1.0))
            own = Problem(SourceImage(source), terms, np.random.default_rng(seed))
            (made,) = synthesise([own], network, Multiscale())
            outermost = np.ones((96, 96), dtype=bool)
            outermost[1:-1, 1:-1] = False
            ratios.append(made.image[outermost].std() / made.image[16:-16, 16:-16].std())
    assert 0.93 < np.mean(ratios) < 1.07  # one image scatters by 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brick", "gravel"])
def test_a_shallow_layer_set_stays_as_shallow_as_in_the_published_procedure(name: str) -> None:
    """With trained weights, layers that are not matched are no nearer than half of the published distance."""
    layers = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
    network = build_extractor(find_weights("vgg16", "imagenet"), deepest="pool4")
    ours = problem(name, layers[:1], 1, 128)
    targets = gram_matrices(network, to_batch([source_of(ours)], "cpu"), layers)
    held_out = []
    for preset in (Gatys2015(iterations=150), Multiscale()):
        (result,) = synthesise([problem(name, layers[:1], 1, 128)], network, preset)
        grams = gram_matrices(network, to_batch([result.image], "cpu"), layers)
        distances = {layer: relative_gram_distance(grams[layer], targets[layer]).item() for layer in layers}
        assert distances["conv1_1"] < 0.02
        held_out.append(np.array([distances[layer] for layer in layers[2:]]))
    published, multiscale = held_out
    assert (multiscale > published / 2).all()
    assert (multiscale < published * 3).all()


def test_the_start_matrix_prefers_the_colours_of_the_source() -> None:
    network = build_extractor(find_weights("vgg16", "random:1"), normalise=False, deepest="conv1_1")
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image[:, 2] = image[:, 0]
    covariance = SourceImage(np.moveaxis(image[0].numpy(), 0, 2)).pixels(network).covariance
    expected = np.cov(image[0].flatten(1).numpy(), bias=True)
    np.testing.assert_allclose(covariance[0], expected, rtol=1e-5, atol=1e-7)
    values, vectors = np.linalg.eigh(expected / np.trace(expected) * 3)
    powers = (np.maximum(values, 0) + 0.01) ** 0.5
    root = vectors @ np.diag(powers / powers.mean()) @ vectors.T
    found = decorrelated(covariance, 0.5)
    np.testing.assert_allclose(found[0], root, atol=1e-5)
    apply = start_matrix(8, torch.zeros(1), found)
    wanted = torch.einsum("cd,bdhw->bchw", torch.from_numpy(root), image)
    torch.testing.assert_close(apply(image.float()), wanted.float(), rtol=1e-4, atol=1e-5)
    grey = decorrelated(torch.tensor([[[0.3]]]), 0.5)
    assert grey.item() == 1
