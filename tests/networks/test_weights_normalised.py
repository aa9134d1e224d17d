from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import network_files
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stimgen.networks.weights.normalised import are_normalised, share_near_one

from benchmarks.normalised import normalised_on, other_image
from stimgen.networks import normalise
from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import (
    Weights,
    WeightsError,
    find_weights,
    import_weights,
    list_weights,
    normalised,
)
from stimgen.networks.weights.record import Convolutions

VGG16 = [step.name for step in NETWORKS["vgg16"]().convolutions]


def write_vgg_conv(path: Path, weights: Weights) -> None:
    """Write weights as Gatys and colleagues did theirs: conv1_1.weight, conv1_1.bias, …, BGR input."""
    tensors = {}
    for name, kernel, bias in zip(VGG16, weights.kernels, weights.biases, strict=True):
        tensors[f"{name}.weight"] = kernel.flip(1) if name == "conv1_1" else kernel
        tensors[f"{name}.bias"] = bias
    torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


@pytest.fixture(params=[128, pytest.param(256, marks=pytest.mark.slow)])
def size_px(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The side of the photographs that are measured on; the quick tests crop them."""
    start = (256 - request.param) // 2
    crop = np.s_[start : 256 - start, start : 256 - start]
    pixels = [np.ascontiguousarray(whole[crop]) for whole in normalise.photographs()]
    monkeypatch.setattr(normalise, "photographs", lambda: iter(pixels))
    return int(request.param)


@pytest.fixture(scope="session")
def elsewhere(oxford: Weights) -> Weights:
    """VGG-16 normalised on another photograph than those that stimgen measures on."""
    return normalised_on(oxford, [other_image("motorcycle_right.png")])


@pytest.fixture(scope="session")
def vgg_conv(elsewhere: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "vgg_conv.pth"
    write_vgg_conv(path, elsewhere)
    return path


@pytest.mark.usefixtures("size_px")
def test_published_filters_are_recognised_and_used_exactly_as_they_are(
    vgg_conv: Path, elsewhere: Weights, cache: Path
) -> None:
    weights = import_weights(vgg_conv, "vgg16", convention="caffe-bgr")
    assert weights.normalised
    for found in (weights, find_weights("vgg16", "vgg_conv"), _by_path(cache)):
        assert found.normalised
        assert found.convention.name == "caffe-rgb"
        for asked in (True, False):
            extractor = build_extractor(found, normalise=asked, deepest="conv2_2")
            assert all(map(torch.equal, extractor.kernels, elsewhere.kernels[:4]))
            assert all(map(torch.equal, extractor.biases, elsewhere.biases[:4]))
    rows = {(row.network, row.name): row for row in list_weights()}
    assert rows["vgg16", "vgg_conv"].normalised
    assert not rows["vgg16", "imagenet"].normalised


def _by_path(cache: Path) -> Weights:
    return find_weights("vgg16", str(cache / "vgg16-vgg_conv.safetensors"))


def test_files_with_the_names_of_caffe_are_offered_its_convention(vgg_conv: Path, tmp_path: Path) -> None:
    for read in (lambda: import_weights(vgg_conv, "vgg16"), lambda: find_weights("vgg16", str(vgg_conv))):
        with pytest.raises(
            WeightsError, match=r"not recognised(.|\n)*vgg_conv\.pth of Gatys.*C is caffe-bgr"
        ):
            read()
    stored = torch.load(vgg_conv, weights_only=True)
    torch.save({f"features.{name}": tensor for name, tensor in stored.items()}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not recognised") as caught:
        import_weights(tmp_path / "other.pth", "vgg16")
    assert "Gatys" not in str(caught.value)


@pytest.mark.usefixtures("size_px")
def test_a_trained_network_is_not_taken_for_a_normalised_one(oxford: Weights, tmp_path: Path) -> None:
    other = replace(oxford, biases=(oxford.biases[0] + 1e-6, *oxford.biases[1:]))
    write_vgg_conv(tmp_path / "vgg16.pth", other)
    weights = import_weights(tmp_path / "vgg16.pth", "vgg16", convention="caffe-bgr")
    assert weights.tensors_sha256 != oxford.tensors_sha256
    assert not weights.normalised
    assert share_near_one(weights) < 0.1
    raw, rescaled = (build_extractor(weights, normalise=asked, deepest="conv1_1") for asked in (False, True))
    assert not torch.equal(raw.kernels[0], rescaled.kernels[0])


@pytest.mark.parametrize("seed", [0, 3])
def test_random_networks_are_not_taken_for_normalised_ones(seed: int) -> None:
    share = share_near_one(find_weights("alexnet", f"random:{seed}"))
    assert 0.3 < share < 0.5
    assert not are_normalised(find_weights("alexnet", f"random:{seed}"))


@pytest.mark.slow
def test_normalisation_on_dissimilar_images_is_recognised(oxford: Weights) -> None:
    names = ["brick.png", "cell.png", "clock_motion.png", "coins.png", "grass.png", "gravel.png"]
    names += ["hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_right.png"]
    assert share_near_one(normalised_on(oxford, [other_image(name) for name in names])) > 0.65


def test_the_share_is_counted_with_average_pooling_and_averaged_over_layers(
    tiny: Architecture, convolutions: Convolutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = ([1.0, 1.9, 0.51, 2.1], [0.49, 0.0, 3.0, 1.0], [1.0] * 6)

    def measured(extractor: object) -> list[torch.Tensor]:
        assert extractor.pooling == "average"  # type: ignore[attr-defined]
        return [torch.tensor(layer, dtype=torch.float64) for layer in means]

    monkeypatch.setattr("stimgen.networks.normalise.mean_activations", measured)
    assert share_near_one(find_weights("tiny", "random")) == pytest.approx((3 / 4 + 1 / 4 + 1) / 3)


def test_recognised_published_weights_are_not_measured(
    oxford: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stimgen.networks.weights.find.are_normalised", None)
    write_vgg_conv(tmp_path / "oxford.pth", oxford)
    weights = import_weights(tmp_path / "oxford.pth", "vgg16")
    assert (weights.name, weights.normalised) == ("imagenet", False)


def test_cache_files_from_before_are_read_as_not_normalised(
    tmp_path: Path,
    tiny: Architecture,
    convolutions: Convolutions,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network_files.write_pth(tmp_path / "net.pth", convolutions)
    monkeypatch.setattr(normalised, "share_near_one", lambda weights: 0.56)
    assert import_weights(tmp_path / "net.pth", "tiny", convention="torchvision").normalised
    file = cache / "tiny-net.safetensors"
    with safe_open(file, framework="pt") as stored:
        metadata = dict(stored.metadata())
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    assert metadata.pop("normalised") == "yes"
    save_file(tensors, file, metadata=metadata)
    found = find_weights("tiny", "net")
    assert not found.normalised
    np.testing.assert_array_equal(found.kernels[0], convolutions.kernels[0])
    # Importing the file again says so.
    assert import_weights(tmp_path / "net.pth", "tiny", convention="torchvision").normalised
    assert find_weights("tiny", "net").normalised
    save_file(tensors, file, metadata=metadata | {"normalised": "perhaps"})
    with pytest.raises(WeightsError, match="header"):
        find_weights("tiny", "net")
