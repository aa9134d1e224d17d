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

from stimgen import Gatys2015, Multiscale, TextureModel, TextureStatistics, mix
from stimgen.errors import InputError, StimgenError
from stimgen.images.read import read_image
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.photographs import photographs
from stimgen.networks.weights import find_weights
from stimgen.texture.problem import Problem, SourceImage
from stimgen.texture.saved import ModelIdentity
from stimgen.texture.statistic import weighted_terms
from stimgen.texture.statistics.gram import principal_components
from stimgen.texture.synthesis import synthesise

LAYERS = ["conv1_1", "pool1", "pool2"]
SHORT = Multiscale(smallest_px=32, evaluations=(8, 8), shallow_evaluations=(3,), precision="float32")


def texture(name: str, side: int = 64) -> np.ndarray:
    return read_image(f"skimage:{name}").pixels[:side, :side]


def random_model(layers: list[str] = LAYERS, components: int | None = None) -> TextureModel:
    return TextureModel(
        "vgg16", layers, weights="random:1", normalise=False, components=components, device="cpu"
    )


def random_extractor() -> FeatureExtractor:
    weights = find_weights("vgg16", "random:1")
    return build_extractor(weights, padding="mirrored", deepest="pool2", normalise=False)


@pytest.fixture(scope="module")
def model() -> TextureModel:
    return random_model()


@pytest.fixture(scope="module")
def reduced() -> TextureModel:
    return random_model(components=16)


@pytest.mark.parametrize("preset", [SHORT, Gatys2015(iterations=5)])
def test_saved_statistics_give_the_texture_of_their_image(
    model: TextureModel, tmp_path: Path, preset: Multiscale | Gatys2015
) -> None:
    """From the same noise, to the last bit."""
    source = texture("coffee", 48)
    statistics = model.analyse(source)
    path = tmp_path / "gravel.safetensors"
    statistics.save(path)
    assert statistics.parameters == 64 * 65 / 2 + 64 * 65 / 2 + 128 * 129 / 2
    loaded = TextureStatistics.load(path)
    for key in ("model", "size_px", "mean", "lowest", "highest", "covariance", "parameters"):
        assert getattr(loaded, key) == getattr(statistics, key)
    problem = Problem(
        SourceImage(source), weighted_terms(dict.fromkeys(LAYERS, 1.0)), np.random.default_rng(5)
    )
    (expected,) = synthesise([problem], random_extractor(), preset)
    made = model.synthesise(loaded, seed=5, preset=preset)
    assert np.array_equal(made.image, expected.image)
    assert made.loss == expected.loss
    assert [file.name for file in tmp_path.iterdir()] == ["gravel.safetensors"]


@pytest.mark.parametrize("preset", [SHORT, Gatys2015(iterations=20)])
def test_the_loss_of_components_is_that_of_the_projected_features(
    reduced: TextureModel, preset: Multiscale | Gatys2015
) -> None:
    """``sum_l 1/(4 k^2) ||V^T (G - T) V||^2`` in float64 NumPy, of the image that was made."""
    source = texture("gravel", 32)
    result = reduced.synthesise(reduced.analyse(source), preset=preset)
    extractor = random_extractor()
    images = torch.from_numpy(np.stack([result.image, source]))[:, None].expand(-1, 3, -1, -1)
    maps = extractor.features(images, LAYERS)
    bases = principal_components(extractor, LAYERS, 16)
    expected = 0.0
    for layer, both in maps.items():
        basis = bases[layer].double().numpy()
        ours, theirs = (np.tensordot(basis.T, x.double().numpy(), axes=1).reshape(16, -1) for x in both)
        difference = ours @ ours.T / ours.shape[1] - theirs @ theirs.T / theirs.shape[1]
        expected += np.sum(difference**2) / (4 * 16**2)
    assert result.loss == pytest.approx(expected, rel=1e-3)


def test_components_are_the_eigenvectors_of_the_photographs_features() -> None:
    """Against NumPy's singular vectors of all features side by side."""
    extractor = random_extractor()
    basis = principal_components(extractor, ["conv1_1"], 5)["conv1_1"].double().numpy()
    images = [torch.from_numpy(photo).permute(2, 0, 1)[None] for photo in photographs()]
    maps = [extractor.features(image, ["conv1_1"])["conv1_1"] for image in images]
    features = np.concatenate([x.double().flatten(2)[0].numpy() for x in maps], axis=1)
    expected = np.linalg.svd(features @ features.T)[0][:, :5]
    np.testing.assert_allclose(np.abs(np.sum(basis * expected, axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-6)


def test_a_larger_texture_has_the_same_statistics(model: TextureModel) -> None:
    statistics = model.analyse(texture("gravel"))
    preset = Multiscale(smallest_px=32, evaluations=(60, 60), precision="float32")
    result = model.synthesise(statistics, size_px=96, preset=preset)
    assert result.image.shape == (96, 96)
    assert next(trace.size_px for trace in result.traces) == 48
    reached = model.analyse(result.image)
    for layer, target in statistics.grams[0].items():
        assert torch.linalg.norm(reached.grams[0][layer] - target) < 0.05 * torch.linalg.norm(target)


def test_a_coarse_scale_for_which_the_source_is_too_small_is_left_out(model: TextureModel) -> None:
    statistics = model.analyse(texture("gravel", 32))
    assert len(statistics.grams) == 2
    result = model.synthesise(statistics, size_px=128, preset=SHORT)
    assert next(trace.size_px for trace in result.traces) == 64


def _statistics(value: float) -> TextureStatistics:
    model = ModelIdentity(
        "vgg16", "sha256", "torchvision", "average", "mirrored", True, False, ("conv1_1",), None
    )
    pixel = (value / 10,)
    return TextureStatistics(
        model, 32, pixel, pixel, pixel, pixel, ({"conv1_1": torch.full((1, 2, 2), value)},)
    )


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_a_mixture_is_linear(share: float) -> None:
    mixed = mix([_statistics(1.0), _statistics(3.0)], [share, 1 - share])
    expected = share * 1.0 + (1 - share) * 3.0
    assert torch.allclose(mixed.grams[0]["conv1_1"], torch.full((1, 2, 2), expected))
    assert mixed.mean[0] == pytest.approx(expected / 10)
    assert mixed.lowest[0] == (_statistics(1.0 if share > 0 else 3.0).lowest[0])


def test_an_rgb_image_without_colour_gives_the_grey_texture_of_a_run(model: TextureModel) -> None:
    plane = texture("gravel", 48)
    grey, rgb = model.analyse(plane), model.analyse(np.stack([plane] * 3, axis=2))
    assert rgb.mean == grey.mean
    made = [model.synthesise(one, preset=SHORT).image for one in (grey, rgb)]
    assert made[1].shape == (48, 48)
    np.testing.assert_array_equal(*made)


def test_grey_among_rgb_is_mixed_as_three_equal_channels(model: TextureModel) -> None:
    grey, colour = model.analyse(texture("gravel", 48)), model.analyse(texture("coffee", 48))
    mixed = mix([grey, colour], [0.25, 0.75])
    assert mixed.mean == pytest.approx([grey.mean[0] / 4 + mean * 3 / 4 for mean in colour.mean])
    assert mixed.lowest == tuple(min(grey.lowest[0], value) for value in colour.lowest)
    assert model.synthesise(mixed, preset=SHORT).image.shape == (48, 48, 3)


def test_files_of_something_else_are_refused(model: TextureModel, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match="no file"):
        TextureStatistics.load(path)
    statistics = model.analyse(texture("brick", 32))
    statistics.save(path)
    content = path.read_bytes()
    spoilt = {**statistics.grams[0], "pool1": torch.full((1, 64, 64), float("nan"))}
    for damage, message in (
        (lambda: path.write_bytes(content[: len(content) // 2]), "holds no texture statistics"),
        (lambda: save_file({"a": torch.zeros(2)}, path), "holds no texture statistics"),
        (lambda: dataclasses.replace(statistics, grams=(spoilt,)).save(path), "0/pool1 is no Gram matrix"),
        (lambda: dataclasses.replace(statistics, grams=({},)).save(path), "Gram matrices are missing"),
    ):
        damage()
        with pytest.raises(InputError, match=message):
            TextureStatistics.load(path)
    with pytest.raises(StimgenError, match=r"nowhere.* cannot be written"):
        statistics.save(tmp_path / "nowhere" / "a.safetensors")


def test_statistics_that_cannot_be_mixed_are_refused() -> None:
    statistics = _statistics(1.0)
    other = dataclasses.replace(statistics, model=dataclasses.replace(statistics.model, pooling="max"))
    zeros = dataclasses.replace(statistics, model=dataclasses.replace(statistics.model, padding="zeros"))
    for second, weights, message in (
        (statistics, [0.5, 0.6], "weight"),
        (statistics, [1.0], "weight"),
        (statistics, [float("nan"), 1.0], "weight"),
        (other, [0.5, 0.5], "pooling average and max"),
        (zeros, [0.5, 0.5], "padding mirrored and zeros"),
    ):
        with pytest.raises(InputError, match=message):
            mix([statistics, second], weights)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 32), np.uint8), r"Give floats from 0 .* pixels / 255"),
        (np.full((32, 32), np.nan, np.float32), "Give floats"),
        (np.zeros((32, 32, 4), np.float32), r"shape \(32, 32, 4\)"),
    ],
)
def test_other_arrays_are_refused(model: TextureModel, image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.analyse(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "Give whole numbers"),
        ({"size_px": 40.5}, "Give whole numbers"),
        ({"preset": "gatys2015"}, r"Give stimgen\.Multiscale"),
        ({"statistics": "brick.safetensors"}, "Statistics of type str"),
        ({"statistics": _statistics(1.0)}, "belong to another texture model"),
        ({"size_px": 8}, "Use at least 16 px"),
    ],
)
def test_wrong_arguments_of_a_synthesis_are_refused(model: TextureModel, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        model.synthesise(**{"statistics": model.analyse(texture("brick", 32))} | arguments)


@pytest.mark.parametrize(
    ("layers", "arguments", "message"),
    [
        ("conv1_1..pool2", {}, "Give a list"),
        (["conv1_1"], {"components": 2.5}, "components"),
        (["pool9"], {}, "pool9"),
        (["pool1"], {"layer_weights": {"pool2": 1}}, "A weight for"),
    ],
)
def test_wrong_settings_of_a_model_are_refused(layers, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        TextureModel("vgg16", layers, weights="random", device="cpu", **arguments)
