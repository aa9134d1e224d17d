"""The texture model as an object: against the formulas in NumPy, and against synthesis from the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from stimgen.texture.goal import SourceImage

import stimgen
from stimgen import Multiscale, TextureModel, TextureStatistics, mix
from stimgen.errors import InputError, StimgenError
from stimgen.images.read import read_image
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.normalise import photographs
from stimgen.networks.weights import find_weights
from stimgen.texture.components import leading_eigenvectors, principal_components
from stimgen.texture.problem import Problem
from stimgen.texture.statistics import ModelIdentity
from stimgen.texture.synthesis import synthesise

POOLS = ["conv1_1", "pool1", "pool2", "pool3", "pool4"]
SHORT = Multiscale(smallest_px=32, evaluations=(8, 8), shallow_evaluations=(3,), precision="float32")


def texture(name: str, side: int = 64) -> np.ndarray:
    return read_image(f"skimage:{name}").pixels[:side, :side]


@pytest.fixture(scope="module")
def model() -> TextureModel:
    return TextureModel("vgg16", ["conv1_1", "pool1", "pool2"], device="cpu")


@pytest.fixture(scope="module")
def reduced() -> TextureModel:
    return TextureModel("vgg16", ["conv1_1", "pool1", "pool2"], components=16, device="cpu")


@pytest.mark.parametrize(
    ("layers", "components", "parameters"),
    [
        (NETWORKS["vgg19"]().layers[: NETWORKS["vgg19"]().layers.index("pool4") + 1], None, 852_128),
        (POOLS, None, 176_640),
        (POOLS, 64, 10_400),
        (POOLS, 20, 1_050),
    ],
)
def test_parameters_are_those_of_figure_3a(
    layers: list[str], components: int | None, parameters: int
) -> None:
    vgg19 = TextureModel(
        "vgg19", layers, weights="random", normalise=False, components=components, device="cpu"
    )
    assert vgg19.analyse(texture("brick", 32)).parameters == parameters


def test_it_synthesises_what_a_run_does_from_the_image(model: TextureModel) -> None:
    """From the same noise, to the last bit: saved statistics hold all that a run takes from the source."""
    source = texture("gravel")
    extractor = build_extractor(find_weights("vgg16", "imagenet"), deepest="pool2")
    weights = dict.fromkeys(["conv1_1", "pool1", "pool2"], 1.0)
    problem = Problem(SourceImage(source), weights, np.random.default_rng(5))
    (expected,) = synthesise([problem], extractor, SHORT)
    made = model.synthesise(model.analyse(source), seed=5, preset=SHORT)
    assert np.array_equal(made.image, expected.image)
    assert made.loss == expected.loss


def test_the_published_procedure_takes_statistics_too(model: TextureModel) -> None:
    source, preset = texture("gravel", 32), stimgen.Gatys2015(iterations=5)
    extractor = build_extractor(find_weights("vgg16", "imagenet"), deepest="pool2")
    weights = dict.fromkeys(["conv1_1", "pool1", "pool2"], 1.0)
    problem = Problem(SourceImage(source), weights, np.random.default_rng(2))
    (expected,) = synthesise([problem], extractor, preset)
    made = model.synthesise(model.analyse(source), seed=2, preset=preset)
    assert np.array_equal(made.image, expected.image)


@pytest.mark.parametrize("preset", [SHORT, stimgen.Gatys2015(iterations=20)])
def test_the_loss_of_components_is_that_of_the_projected_features(
    reduced: TextureModel, preset: Multiscale | stimgen.Gatys2015
) -> None:
    """``sum_l 1/(4 k^2) ||V^T (G - T) V||^2`` in float64 NumPy, of the image that came out."""
    source = texture("gravel", 64)
    result = reduced.synthesise(reduced.analyse(source), preset=preset)
    extractor = build_extractor(find_weights("vgg16", "imagenet"), deepest="pool2")
    images = torch.from_numpy(np.stack([result.image, source]))[:, None].expand(-1, 3, -1, -1)
    maps = extractor.features(images, list(reduced.layer_weights))
    bases = principal_components(extractor, list(maps), 16)
    expected = 0.0
    for layer, both in maps.items():
        basis = bases[layer].double().numpy()
        ours, theirs = (np.tensordot(basis.T, one.double().numpy(), axes=1).reshape(16, -1) for one in both)
        difference = ours @ ours.T / ours.shape[1] - theirs @ theirs.T / theirs.shape[1]
        expected += np.sum(difference**2) / (4 * 16**2)
    assert result.loss == pytest.approx(expected, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("components", [None, 16])
def test_a_gpu_analyses_as_the_cpu_does_and_reaches_the_statistics(components: int | None) -> None:
    layers = ["conv1_1", "pool1", "pool2"]
    cpu, gpu = (
        TextureModel("vgg16", layers, components=components, device=device) for device in ("cpu", "cuda")
    )
    here, there = (one.analyse(texture("gravel")) for one in (cpu, gpu))
    for ours, theirs in zip(here.grams, there.grams, strict=True):
        for layer, gram in ours.items():
            assert torch.linalg.norm(theirs[layer] - gram) < 1e-4 * torch.linalg.norm(gram)
    made = gpu.synthesise(there, preset=SHORT)
    again = cpu.analyse(made.image)
    for layer, target in here.grams[0].items():
        assert torch.linalg.norm(again.grams[0][layer] - target) < 0.5 * torch.linalg.norm(target)


def test_all_components_are_the_whole_model(model: TextureModel) -> None:
    """As many components as channels are a rotation, under which the loss is the same."""
    rotated = TextureModel("vgg16", ["conv1_1", "pool1", "pool2"], components=4096, device="cpu")
    source = texture("grass")
    plain = stimgen.Gatys2015(iterations=3)
    whole = model.synthesise(model.analyse(source), preset=plain)
    same = rotated.synthesise(rotated.analyse(source), preset=plain)
    assert rotated.analyse(source).parameters == model.analyse(source).parameters
    assert same.traces[0].losses[0] == pytest.approx(whole.traces[0].losses[0], rel=1e-4)


def test_components_are_the_eigenvectors_of_the_photographs_features() -> None:
    """Against NumPy's singular vectors of all features side by side."""
    extractor = build_extractor(find_weights("vgg16", "imagenet"), deepest="conv1_1")
    basis = principal_components(extractor, ["conv1_1"], 5)["conv1_1"].double().numpy()
    features = np.concatenate(
        [
            extractor.features(torch.from_numpy(photo).permute(2, 0, 1)[None], ["conv1_1"])["conv1_1"]
            .double()
            .flatten(2)[0]
            .numpy()
            for photo in photographs()
        ],
        axis=1,
    )
    expected = np.linalg.svd(features @ features.T)[0][:, :5]
    np.testing.assert_allclose(np.abs(np.sum(basis * expected, axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-6)


def test_the_largest_eigenvalue_comes_first() -> None:
    vectors = leading_eigenvectors(torch.diag(torch.tensor([1.0, 5.0, 3.0])), 2)
    np.testing.assert_allclose(vectors.abs(), [[0, 0], [1, 0], [0, 1]], atol=1e-7)


def test_another_size_has_the_same_statistics(model: TextureModel) -> None:
    """A texture larger than its source: its Gram matrices come near, at every scale that the source has."""
    statistics = model.analyse(texture("gravel"))
    preset = Multiscale(smallest_px=32, evaluations=(60, 60), precision="float32")
    result = model.synthesise(statistics, size_px=96, preset=preset)
    assert result.image.shape == (96, 96)
    assert next(trace.size_px for trace in result.traces) == 48
    reached = model.analyse(result.image)
    for layer, target in statistics.grams[0].items():
        distance = torch.linalg.norm(reached.grams[0][layer] - target) / torch.linalg.norm(target)
        assert distance < 0.05


def test_a_coarse_scale_that_the_source_is_too_small_for_is_left_out(model: TextureModel) -> None:
    statistics = model.analyse(texture("gravel", 32))
    assert len(statistics.grams) == 2
    result = model.synthesise(statistics, size_px=128, preset=SHORT)
    assert next(trace.size_px for trace in result.traces) == 64


@settings(max_examples=15, deadline=None)
@given(st.integers(16, 80), st.integers(16, 80), st.integers(33, 90))
def test_any_image_can_be_analysed_and_any_size_synthesised(height: int, width: int, size_px: int) -> None:
    tiny = TextureModel("vgg16", ["conv1_1", "pool1"], weights="random", normalise=False, device="cpu")
    image = np.random.default_rng(0).random((height, width), np.float32)
    statistics = tiny.analyse(image)
    assert statistics.size_px == min(height, width)
    preset = Multiscale(smallest_px=16, evaluations=(1,), shallow_evaluations=(), plain_evaluations=1)
    result = tiny.synthesise(statistics, size_px, preset=preset)
    assert result.image.shape == (size_px, size_px)
    assert np.isfinite(result.image).all()


def test_saved_statistics_are_the_same(model: TextureModel, tmp_path: Path) -> None:
    statistics = model.analyse(np.stack([texture("brick", 48)] * 3, axis=2))
    path = tmp_path / "brick.safetensors"
    statistics.save(path)
    loaded = TextureStatistics.load(path)
    for key in ("model", "size_px", "mean", "lowest", "highest", "parameters"):
        assert getattr(loaded, key) == getattr(statistics, key)
    assert [list(grams) for grams in loaded.grams] == [list(grams) for grams in statistics.grams]
    for ours, theirs in zip(loaded.grams, statistics.grams, strict=True):
        assert all(torch.equal(ours[layer], theirs[layer]) for layer in theirs)
    assert [file.name for file in tmp_path.iterdir()] == ["brick.safetensors"]
    made, again = (model.synthesise(one, preset=SHORT).image for one in (statistics, loaded))
    assert np.array_equal(made, again)


def test_a_file_of_something_else_is_refused(model: TextureModel, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match="no file"):
        TextureStatistics.load(path)
    path.write_bytes(b"\x80\x04garbage")
    with pytest.raises(InputError, match="holds no texture statistics"):
        TextureStatistics.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="holds no texture statistics"):
        TextureStatistics.load(path)
    model.analyse(texture("brick", 32)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="holds no texture statistics"):
        TextureStatistics.load(path)


def test_a_gram_matrix_with_nan_is_refused(model: TextureModel, tmp_path: Path) -> None:
    statistics = model.analyse(texture("brick", 32))
    spoilt = {**statistics.grams[0], "pool1": torch.full((1, 64, 64), float("nan"))}
    path = tmp_path / "nan.safetensors"
    dataclasses.replace(statistics, grams=(spoilt,)).save(path)
    with pytest.raises(InputError, match="0/pool1 is no Gram matrix"):
        TextureStatistics.load(path)


def test_a_file_without_a_coarse_layer_is_refused(model: TextureModel, tmp_path: Path) -> None:
    statistics = model.analyse(texture("brick", 32))
    assert set(statistics.grams[1]) == {"conv1_1", "pool1"}
    path = tmp_path / "lacking.safetensors"
    lacking = (statistics.grams[0], {"pool1": statistics.grams[1]["pool1"]})
    dataclasses.replace(statistics, grams=lacking).save(path)
    with pytest.raises(InputError, match="Gram matrices are missing"):
        TextureStatistics.load(path)


def test_a_folder_that_is_not_there_is_named(model: TextureModel, tmp_path: Path) -> None:
    with pytest.raises(StimgenError, match=r"nowhere.* cannot be written"):
        model.analyse(texture("brick", 32)).save(tmp_path / "nowhere" / "a.safetensors")


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_a_mixture_is_linear(share: float) -> None:
    one, other = (_statistics(value) for value in (1.0, 3.0))
    mixed = mix([one, other], [share, 1 - share])
    expected = share * 1.0 + (1 - share) * 3.0
    assert torch.allclose(mixed.grams[0]["conv1_1"], torch.full((1, 2, 2), expected))
    assert mixed.mean[0] == pytest.approx(expected / 10)
    assert mixed.lowest[0] <= mixed.mean[0] <= mixed.highest[0]


def test_a_mixture_of_one_is_that_one() -> None:
    mixed = mix([_statistics(1.0), _statistics(3.0)], [0, 1])
    assert torch.equal(mixed.grams[0]["conv1_1"], torch.full((1, 2, 2), 3.0))
    assert mixed.lowest == _statistics(3.0).lowest


def test_what_cannot_be_mixed_is_named() -> None:
    one = _statistics(1.0)
    for weights in ([0.5, 0.6], [-0.5, 1.5], [1.0], [float("nan"), 1.0]):
        with pytest.raises(InputError, match="weight"):
            mix([one, one], weights)
    other = dataclasses.replace(one, model=dataclasses.replace(one.model, pooling="max"))
    with pytest.raises(InputError, match="pooling average and max"):
        mix([one, other], [0.5, 0.5])
    with pytest.raises(InputError, match="Grey and RGB"):
        mix([one, dataclasses.replace(one, mean=(0.1,) * 3)], [0.5, 0.5])


def test_what_the_model_does_not_take_is_named(model: TextureModel, reduced: TextureModel) -> None:
    with pytest.raises(InputError, match=r"Give floats from 0 .* pixels / 255"):
        model.analyse(np.zeros((32, 32), np.uint8))
    with pytest.raises(InputError, match="Give floats"):
        model.analyse(np.full((32, 32), np.nan, np.float32))
    with pytest.raises(InputError, match=r"shape \(32, 32, 4\)"):
        model.analyse(np.zeros((32, 32, 4), np.float32))
    with pytest.raises(InputError, match=r"shape \(0, 5\)"):
        model.analyse(np.zeros((0, 5), np.float32))
    for wrong in ({"seed": -1}, {"size_px": 40.5}, {"seed": "a"}):
        with pytest.raises(InputError, match="Give whole numbers"):
            model.synthesise(model.analyse(texture("brick", 32)), **wrong)
    with pytest.raises(InputError, match=r"Give stimgen\.Multiscale"):
        model.synthesise(model.analyse(texture("brick", 32)), preset="gatys2015")
    with pytest.raises(InputError, match="Statistics of type str"):
        model.synthesise("brick.safetensors")
    with pytest.raises(InputError, match="Give a list"):
        TextureModel("vgg16", "conv1_1..pool2", device="cpu")
    for wrong in (0, 2.5, "8"):
        with pytest.raises(InputError, match="components"):
            TextureModel("vgg16", ["conv1_1"], components=wrong, device="cpu")
    with pytest.raises(InputError, match="components 16 and all"):
        model.synthesise(reduced.analyse(texture("brick", 32)))
    with pytest.raises(InputError, match="Use at least 16 px"):
        model.synthesise(model.analyse(texture("brick", 32)), size_px=8)
    with pytest.raises(InputError, match="pool9"):
        TextureModel("vgg16", ["pool9"], weights="random", device="cpu")
    with pytest.raises(InputError, match="A weight for"):
        TextureModel("vgg16", ["pool1"], weights="random", layer_weights={"pool2": 1}, device="cpu")


def _statistics(value: float) -> TextureStatistics:
    model = ModelIdentity("vgg16", "sha256", "torchvision", "average", True, False, ("conv1_1",), None)
    pixel = (value / 10,)
    return TextureStatistics(model, 32, pixel, pixel, pixel, ({"conv1_1": torch.full((1, 2, 2), value)},))
