"""Objective and presets against straightforward implementations, with the real VGG-16 weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from stimgen.texture.goal import SourceImage
from stimgen.texture.gram import relative_gram_distance
from torch import Tensor

from stimgen.images.read import read_image
from stimgen.images.sources import shrink
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.normalise import photographs, rescale_channels
from stimgen.networks.weights import find_weights
from stimgen.texture.multiscale import synthesise_together
from stimgen.texture.objective import GramObjective, analyse, together
from stimgen.texture.presets import Gatys2015, Multiscale
from stimgen.texture.problem import Problem
from stimgen.texture.synthesis import synthesise
from stimgen.texture.tensors import to_batch

LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
CHAIN = """conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3
    conv4_1 conv4_2 conv4_3 pool4"""
MEAN = (123.68, 116.779, 103.939)


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return build_extractor(find_weights("vgg16", "imagenet"), deepest="pool4")


def texture(name: str, size_px: int, color: bool = False) -> np.ndarray:
    pixels = read_image(f"skimage:{name}").pixels
    side = min(pixels.shape[:2])
    return shrink(pixels[:side, :side] if color or pixels.ndim == 2 else pixels[:side, :side, 0], size_px)[0]


def problem(name: str, layers: Sequence[str], seed: int, size_px: int = 64) -> Problem:
    weights = dict.fromkeys(layers, 1.0)
    return Problem(SourceImage(texture(name, size_px)), weights, np.random.default_rng(seed))


def source_of(ours: Problem) -> np.ndarray:
    assert isinstance(ours.goal, SourceImage)
    return ours.goal.image


class Plain:
    """The texture model of the paper as a few lines in one precision, written from the formulas alone."""

    def __init__(self, dtype: torch.dtype) -> None:
        weights = find_weights("vgg16", "imagenet")
        self.kernels = [kernel.to(dtype) for kernel in weights.kernels[:10]]
        self.biases = [bias.to(dtype) for bias in weights.biases[:10]]
        # Rounded as the network keeps it.
        self.mean = torch.tensor(MEAN, dtype=torch.float32).to(dtype).view(1, 3, 1, 1)
        with torch.no_grad():
            images = [torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in photographs()]
            means = [self.activations(image, weights.kernels, weights.biases) for image in images]
        self.scales = [torch.stack(depth).mean(dim=0).to(dtype) for depth in zip(*means, strict=True)]

    @staticmethod
    def activations(image: Tensor, kernels: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
        """Return each filter's mean activation for one photograph, by convolution (in float32, for time)."""
        maps, means = 255 * image - torch.tensor(MEAN).view(1, 3, 1, 1), []
        for layer in CHAIN.split():
            if layer.startswith("pool"):
                maps = F.avg_pool2d(maps, 2)
            else:
                maps = torch.relu(F.conv2d(maps, kernels[len(means)], biases[len(means)], padding=1))
                means.append(maps.mean(dim=(0, 2, 3)))
        return means

    def chain(self, maps: Tensor) -> dict[str, Tensor]:
        """Return all maps of the original network."""
        found, depth = {}, 0
        for layer in CHAIN.split():
            if layer.startswith("pool"):
                maps = F.avg_pool2d(maps, 2)
            else:
                maps = torch.relu(F.conv2d(maps, self.kernels[depth], self.biases[depth], padding=1))
                depth += 1
            found[layer] = maps
        return found

    def grams(self, maps: Tensor) -> dict[str, Tensor]:
        """Return the Gram matrices of the normalised network for an input in its space."""
        found, grams = self.chain(maps), {}
        owner = dict(zip(LAYERS, (0, 1, 3, 6, 9), strict=True))
        for layer in LAYERS:
            flat = (found[layer] / self.scales[owner[layer]].view(1, -1, 1, 1)).flatten(2)[0]
            grams[layer] = torch.einsum("im,jm->ij", flat, flat) / flat.shape[1]
        return grams

    def loss(self, maps: Tensor, source: dict[str, Tensor]) -> Tensor:
        """Return sum_l 1/(4 N^2) sum_ij (G - T)^2."""
        grams = self.grams(maps)
        return sum(
            ((grams[layer] - source[layer]) ** 2).sum() / (4 * grams[layer].shape[0] ** 2) for layer in LAYERS
        )


@pytest.fixture(scope="module")
def plain64() -> Plain:
    return Plain(torch.float64)


@pytest.fixture(scope="module")
def exact(plain64: Plain) -> FeatureExtractor:
    """The extractor in float64, with filters scaled as in the plain implementation to the last digit."""
    raw = build_extractor(find_weights("vgg16", "imagenet"), deepest="pool4", normalise=False)
    return rescale_channels(raw.to(dtype=torch.float64), plain64.scales)


@pytest.mark.parametrize("name", ["brick", "coffee"])
def test_loss_and_gradient_are_those_of_a_plain_float64_implementation(
    name: str, extractor: FeatureExtractor, exact: FeatureExtractor, plain64: Plain
) -> None:
    """At the published start: standard normal noise around the ImageNet mean."""
    color = name == "coffee"
    batch = to_batch([texture(name, 64, color)], "cpu")
    noise = np.random.default_rng(1).standard_normal(batch.shape)
    start = torch.from_numpy(noise + np.reshape(MEAN if color else np.mean(MEAN), (1, -1, 1, 1))) / 255
    image = start.float().double().requires_grad_()
    targets = plain64.grams(255 * batch.double().expand(1, 3, 64, 64) - plain64.mean)
    expected = plain64.loss(255 * image.expand(1, 3, 64, 64) - plain64.mean, targets)
    (expected_gradient,) = torch.autograd.grad(expected, image)
    # Rounding can turn a ReLU on or off, which the gradient feels more than the loss.
    for network, in_loss, in_gradient in ((exact, 1e-9, 1e-8), (extractor, 1e-5, 1e-3)):
        precision = network.dtype
        ones = {layer: torch.ones(1, dtype=precision) for layer in LAYERS}
        objective = GramObjective(network, analyse(network, batch.to(precision), LAYERS), ones)
        loss, gradient = objective(image.detach().to(precision))
        assert loss.item() == pytest.approx(expected.item(), rel=in_loss)
        error = torch.linalg.norm(gradient - expected_gradient) / torch.linalg.norm(expected_gradient)
        assert error < in_gradient


def test_in_float32_loss_and_gradient_of_a_texture_agree_with_plain_float64(
    extractor: FeatureExtractor, plain64: Plain
) -> None:
    """At an image with the contrasts of a texture, where few ReLUs are near their kink."""
    batch, point = (to_batch([texture(name, 64)], "cpu") for name in ("brick", "gravel"))
    image = point.double().requires_grad_()
    targets = plain64.grams(255 * batch.double().expand(1, 3, 64, 64) - plain64.mean)
    expected = plain64.loss(255 * image.expand(1, 3, 64, 64) - plain64.mean, targets)
    (expected_gradient,) = torch.autograd.grad(expected, image)
    ones = {layer: torch.ones(1) for layer in LAYERS}
    loss, gradient = GramObjective(extractor, analyse(extractor, batch, LAYERS), ones)(point)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.linalg.norm(gradient - expected_gradient) < 1e-4 * torch.linalg.norm(expected_gradient)


def test_the_published_procedure_ends_where_a_plain_one_does(exact: FeatureExtractor, plain64: Plain) -> None:
    """50 iterations of L-BFGS-B on the plain implementation, grey and from the same noise."""
    source = texture("gravel", 48)
    ours = Problem(SourceImage(source), dict.fromkeys(LAYERS, 1.0), np.random.default_rng(3))
    (result,) = synthesise([ours], exact, Gatys2015(iterations=50))

    pixels = source.astype(np.float64) * 255
    targets = plain64.grams(torch.from_numpy(pixels).expand(1, 3, 48, 48) - plain64.mean)
    offset = np.mean(MEAN)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        plane = torch.from_numpy(point).view(1, 1, 48, 48).requires_grad_()
        loss = 1e9 * plain64.loss(plane.expand(1, 3, 48, 48) + offset - plain64.mean, targets)
        (gradient,) = torch.autograd.grad(loss, plane)
        return loss.item(), gradient.numpy().ravel()

    noise = np.random.default_rng(3).standard_normal(source.size)
    expected = minimize(
        objective,
        noise,
        jac=True,
        method="L-BFGS-B",
        bounds=[(pixels.min() - offset, pixels.max() - offset)] * noise.size,
        options={"maxcor": 20, "maxiter": 50, "ftol": 0, "gtol": 0},
    )
    assert result.iterations == expected.nit == 50
    assert result.evaluations == expected.nfev
    assert result.loss == pytest.approx(expected.fun / 1e9, rel=0.02)
    assert result.stop_reason == "iterations"


def test_published_bounds_are_those_of_the_source_in_network_space(extractor: FeatureExtractor) -> None:
    source = texture("coffee", 32, color=True)
    weights = {"conv1_1": 1.0}
    (result,) = synthesise(
        [Problem(SourceImage(source), weights, np.random.default_rng(0))], extractor, Gatys2015(iterations=20)
    )
    space = source.astype(np.float64) * 255 - MEAN
    reached = result.image.astype(np.float64) * 255 - MEAN
    assert reached.min() >= space.min() - 1e-3
    assert reached.max() <= space.max() + 1e-3
    assert reached.max() > 0.9 * space.max()


MIXED: tuple[Callable[[], Problem], ...] = (
    lambda: problem("brick", LAYERS, 1),
    lambda: problem("gravel", LAYERS[:3], 2),
    lambda: problem("grass", LAYERS[:1], 1),
    lambda: problem("gravel", LAYERS, 3),
)


def test_a_mixed_batch_gives_each_problem_what_it_reaches_alone(extractor: FeatureExtractor) -> None:
    """In float64; in float32, rounding in another order of sums grows to percents within 40 evaluations."""
    preset = Multiscale(smallest_px=32, evaluations=(20, 20))
    exact = extractor.to(dtype=torch.float64)
    shared = synthesise_together([make() for make in MIXED], exact, preset)
    for make, ours in zip(MIXED, shared, strict=True):
        (alone,) = synthesise_together([make()], exact, preset)
        assert ours.loss == pytest.approx(alone.loss, rel=1e-3)
        assert [trace.size_px for trace in ours.traces] == [trace.size_px for trace in alone.traces]


def test_on_a_cpu_a_texture_is_the_same_in_any_batch(extractor: FeatureExtractor) -> None:
    preset = Multiscale(smallest_px=32, evaluations=(15, 15))
    shared = synthesise([make() for make in MIXED], extractor, preset)
    for make, ours in zip(MIXED, shared, strict=True):
        (alone,) = synthesise([make()], extractor, preset)
        assert np.array_equal(ours.image, alone.image)
        assert ours.loss == alone.loss


def test_shared_passes_give_each_problem_its_loss_and_gradient(extractor: FeatureExtractor) -> None:
    objectives = []
    for make in MIXED:
        ours = make()
        targets = analyse(extractor, to_batch([source_of(ours)], "cpu"), list(ours.layer_weights))
        weights = {layer: torch.tensor([0.5 + i]) for i, layer in enumerate(targets)}
        objectives.append(GramObjective(extractor, targets, weights))
    points = torch.rand((4, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    alone = [objective(point) for objective, point in zip(objectives, points.split(1), strict=True)]
    expected_losses, expected_gradients = (torch.cat(parts) for parts in zip(*alone, strict=True))
    losses, gradients = together(objectives)(points)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=0)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        assert torch.linalg.norm(gradient - expected) < 1e-4 * torch.linalg.norm(expected)


def test_synthesis_brings_the_loss_down_and_keeps_the_bounds(extractor: FeatureExtractor) -> None:
    preset = Multiscale(smallest_px=32, evaluations=(60, 60), shallow_evaluations=(9, 8), stop_distance=0)
    ours = problem("brick", LAYERS, 1)
    (result,) = synthesise([ours], extractor, preset)
    ones = {layer: torch.ones(1) for layer in LAYERS}
    objective = GramObjective(extractor, analyse(extractor, to_batch([source_of(ours)], "cpu"), LAYERS), ones)
    assert objective.loss(to_batch([result.image], "cpu")).item() == pytest.approx(result.loss, rel=1e-4)
    noise = np.random.default_rng(0).normal(0.4, 0.05, (64, 64)).astype(np.float32)
    assert result.loss < objective.loss(to_batch([noise], "cpu")).item() / 300
    assert result.image.min() >= source_of(ours).min()
    assert result.image.max() <= source_of(ours).max()
    assert result.evaluations == 60 + 9 + 8 + 60 + 4
    assert result.restarts == 0
    assert result.stop_reason == "evaluations"


@pytest.mark.parametrize("name", ["brick", "gravel"])
def test_a_shallow_layer_set_stays_as_shallow_as_in_the_published_procedure(
    name: str, extractor: FeatureExtractor
) -> None:
    """Layers that are not matched are no nearer to the source than half of the published distance."""
    source = texture(name, 128)
    targets = analyse(extractor, to_batch([source], "cpu"), LAYERS)
    held_out = []
    for preset in (Gatys2015(iterations=150), Multiscale()):
        (result,) = synthesise([problem(name, LAYERS[:1], 1, 128)], extractor, preset)
        grams = analyse(extractor, to_batch([result.image], "cpu"), LAYERS)
        distances = {layer: relative_gram_distance(grams[layer], targets[layer]).item() for layer in LAYERS}
        assert distances["conv1_1"] < 0.02
        held_out.append(np.array([distances[layer] for layer in LAYERS[2:]]))
    published, multiscale = held_out
    assert (multiscale > published / 2).all()
    assert (multiscale < published * 3).all()


def test_the_same_generator_gives_the_same_texture(extractor: FeatureExtractor) -> None:
    preset = Multiscale(smallest_px=32, evaluations=(5, 5))
    first, again, other = (
        synthesise([problem("brick", LAYERS[:2], seed)], extractor, preset)[0].image for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_colour_is_synthesised_in_colour(extractor: FeatureExtractor) -> None:
    source = texture("coffee", 64, color=True)
    preset = Multiscale(smallest_px=32, evaluations=(60, 60))
    ours = Problem(SourceImage(source), dict.fromkeys(LAYERS[:3], 1.0), np.random.default_rng(0))
    (result,) = synthesise([ours], extractor, preset)
    assert result.image.shape == (64, 64, 3)
    wanted, reached = (image.mean(axis=(0, 1)) for image in (source, result.image))
    np.testing.assert_allclose(reached, wanted, atol=0.05)
    assert wanted[0] - wanted[2] > 0.1  # a brown picture


def test_bfloat16_convolutions_point_where_float32_does(extractor: FeatureExtractor) -> None:
    targets = analyse(extractor, to_batch([texture("gravel", 64)], "cpu"), LAYERS)
    ones = {layer: torch.ones(1) for layer in LAYERS}
    point = to_batch([texture("grass", 64)], "cpu")
    loss, gradient = GramObjective(extractor, targets, ones)(point)
    rough_loss, rough_gradient = GramObjective(extractor.to(dtype=torch.bfloat16), targets, ones)(point)
    assert rough_loss.dtype == rough_gradient.dtype == torch.float32
    assert rough_loss.item() == pytest.approx(loss.item(), rel=0.02)
    assert torch.cosine_similarity(rough_gradient.flatten(), gradient.flatten(), dim=0) > 0.99


def test_a_descent_in_bfloat16_comes_down_in_float32_too(extractor: FeatureExtractor) -> None:
    preset = Multiscale(smallest_px=32, evaluations=(40, 40), precision="bfloat16")
    ours = problem("gravel", LAYERS, 1)
    (result,) = synthesise([ours], extractor, preset)
    targets = analyse(extractor, to_batch([source_of(ours)], "cpu"), LAYERS)
    objective = GramObjective(extractor, targets, {layer: torch.ones(1) for layer in LAYERS})
    noise = np.random.default_rng(0).normal(0.4, 0.05, (64, 64)).astype(np.float32)
    reached = objective.loss(to_batch([result.image], "cpu")).item()
    assert reached < objective.loss(to_batch([noise], "cpu")).item() / 200
    assert reached == pytest.approx(result.loss, rel=1e-4)
    assert {trace.precision for trace in result.traces[:-1]} == {"bfloat16"}
    assert result.traces[-1].precision == "float32"
    assert [trace.metric for trace in result.traces[-2:]] == ["flat", "plain"]
    assert result.traces[-1].losses[-1] < result.traces[-1].losses[0]


def test_a_texture_that_is_near_enough_is_left_alone(extractor: FeatureExtractor) -> None:
    """Stages end at the first loss that is low enough; the plain one is checked against NumPy."""
    preset = Multiscale(smallest_px=32, evaluations=(200,), stop_distance=0.02, precision="float32")
    ours = problem("gravel", LAYERS[:2], 1)
    (result,) = synthesise([ours], extractor, preset)
    assert result.stop_reason == "stop distance"
    assert result.evaluations < 200
    images = to_batch([result.image, source_of(ours)], "cpu")
    features = extractor.features(images.expand(-1, 3, -1, -1), LAYERS[:2])
    loss = scale = 0.0
    for layer in LAYERS[:2]:
        reached, wanted = (maps.reshape(64, -1) for maps in features[layer].double().numpy())
        grams = [maps @ maps.T / maps.shape[1] for maps in (reached, wanted)]
        loss += ((grams[0] - grams[1]) ** 2).sum() / (4 * 64**2)
        scale += (grams[1] ** 2).sum() / (4 * 64**2)
    assert result.loss == pytest.approx(loss, rel=1e-3)
    before = result.traces[-1].losses[:-1]
    assert np.sqrt(loss / scale) <= 0.02
    assert (np.sqrt(before / scale) > 0.02).all()


@pytest.mark.gpu
def test_a_gpu_gives_the_losses_of_the_cpu(extractor: FeatureExtractor) -> None:
    preset = Multiscale(smallest_px=32, evaluations=(30, 30))
    preset = preset.model_copy(update={"precision": "float32"})
    on_gpu = extractor.to("cuda")
    for make in MIXED:
        (cpu,) = synthesise([make()], extractor, preset)
        (gpu,) = synthesise([make()], on_gpu, preset)
        np.testing.assert_allclose(gpu.traces[0].losses[:5], cpu.traces[0].losses[:5], rtol=1e-3)
        assert gpu.loss == pytest.approx(cpu.loss, rel=0.05)


def test_projected_and_whole_problems_share_passes(extractor: FeatureExtractor) -> None:
    """Metrics with fewer rows than channels, in a batch with problems that have none."""
    objectives = []
    rng = torch.Generator().manual_seed(1)
    for rows in (None, 3, 64):
        ours = problem("gravel", LAYERS[:2], 1)
        targets = ours.goal.grams(extractor, LAYERS[:2], 0)
        metrics = {} if rows is None else {"pool1": torch.rand((1, rows, 64), generator=rng)}
        ones = {layer: torch.ones(1) for layer in targets}
        objectives.append(GramObjective(extractor, targets, ones, metrics))
    points = torch.rand((3, 1, 64, 64), generator=rng)
    losses, gradients = together(objectives)(points)
    for place, objective in enumerate(objectives):
        loss, gradient = objective(points[place : place + 1])
        assert losses[place] == pytest.approx(loss.item(), rel=1e-5)
        assert torch.linalg.norm(gradients[place] - gradient[0]) < 1e-4 * torch.linalg.norm(gradient)


def test_the_gradient_through_a_metric_is_numerically_right(exact: FeatureExtractor) -> None:
    rng = torch.Generator().manual_seed(2)
    targets = problem("gravel", LAYERS[:2], 1).goal.grams(exact, LAYERS[:2], 0)
    metrics = {
        layer: torch.rand((1, 5, target.shape[-1]), generator=rng, dtype=torch.float64)
        for layer, target in targets.items()
    }
    ones = {layer: torch.ones(1, dtype=torch.float64) for layer in targets}
    objective = GramObjective(exact, targets, ones, metrics)
    point = torch.rand((1, 1, 6, 6), generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(objective.loss, point.requires_grad_(), eps=1e-6, rtol=1e-4)
