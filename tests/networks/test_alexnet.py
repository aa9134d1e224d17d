from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytest_httpserver import HTTPServer
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import alexnet as torchvision_alexnet

from stimgen.networks import catalogue
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.memory import evaluation_bytes
from stimgen.networks.normalise import photographs
from stimgen.networks.weights import (
    Weights,
    WeightsError,
    fetch_weights,
    find_weights,
    import_weights,
    verify_weights,
)
from stimgen.texture.statistics.gram import gram_matrix

ALEXNET = NETWORKS["alexnet"]()
RELUS_AND_POOLS = (1, 2, 4, 5, 7, 9, 11, 12)
"""Modules of torchvision's features whose outputs are the layers."""


@pytest.fixture(scope="module")
def features() -> nn.Sequential:
    """The convolutions, ReLUs and max pools of torchvision's AlexNet with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torchvision_alexnet(weights=None).features.requires_grad_(False)


@pytest.fixture
def file(features: nn.Sequential, tmp_path: Path) -> Path:
    """A file as torchvision's, with a classifier of other shapes."""
    tensors = {f"features.{name}": value for name, value in features.state_dict().items()}
    tensors |= {"classifier.1.weight": torch.ones(4, 9), "classifier.1.bias": torch.full((4,), torch.nan)}
    torch.save(tensors, tmp_path / "alexnet-owt.pth")
    return tmp_path / "alexnet-owt.pth"


@pytest.fixture
def weights(file: Path) -> Weights:
    return import_weights(file, "alexnet", name="mine", convention="torchvision")


@pytest.fixture
def published(file: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The catalogue with the address and the SHA-256 of the file on a local server; its address."""
    content = file.read_bytes()
    httpserver.expect_request("/alexnet-owt.pth").respond_with_data(content)
    url, prefix = httpserver.url_for("/alexnet-owt.pth"), hashlib.sha256(content).hexdigest()[:8]
    entry = catalogue.published_weights("alexnet", "imagenet")
    assert entry is not None
    monkeypatch.setattr(catalogue, "PUBLISHED", (replace(entry, url=url, sha256_prefix=prefix),))
    return url


def torchvision_maps(modules: nn.Sequential, images: torch.Tensor) -> dict[str, torch.Tensor]:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps, outputs = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1), []
    for module in modules:
        maps = module(maps)
        # torchvision's ReLU changes its input in place, and no later module changes a pool's output.
        outputs.append(maps)
    return dict(zip(ALEXNET.layers, [outputs[place].clone() for place in RELUS_AND_POOLS], strict=True))


def with_average_pooling(features: nn.Sequential) -> nn.Sequential:
    pools = [nn.AvgPool2d(3, 2) if isinstance(m, nn.MaxPool2d) else m for m in features]
    return nn.Sequential(*pools)


def test_layers_strides_and_receptive_fields() -> None:
    assert " ".join(ALEXNET.layers) == "conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool5"
    assert [ALEXNET.channels(layer) for layer in ALEXNET.layers] == [64, 64, 192, 192, 384, 256, 256, 256]
    assert [ALEXNET.stride(layer) for layer in ALEXNET.layers] == [4, 8, 8, 16, 16, 16, 16, 32]
    fields = [ALEXNET.receptive_field(layer) for layer in ALEXNET.layers]
    assert fields == [11, 19, 51, 67, 99, 131, 163, 195]
    # torchvision says of its AlexNet: min_size 63 x 63.
    assert ALEXNET.smallest_px("pool5") == 63
    assert set(ALEXNET.default_layers) < set(ALEXNET.layers)


def test_kernels_are_those_of_torchvision() -> None:
    # 61,100,840 parameters (torchvision), less those of its three fully connected layers.
    classifier = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    counts = [step.in_channels * step.out_channels * step.kernel**2 for step in ALEXNET.convolutions]
    counts += [step.out_channels for step in ALEXNET.convolutions]
    assert sum(counts) == 61_100_840 - classifier


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize(("height", "width"), [(63, 63), (64, 97), (128, 100)])
def test_maps_are_those_of_torchvision(
    weights: Weights, features: nn.Sequential, pooling: str, height: int, width: int
) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    modules = features if pooling == "max" else with_average_pooling(features)
    expected = torchvision_maps(modules, images)
    extractor = build_extractor(weights, pooling=pooling, normalise=False)  # type: ignore[arg-type]
    found = extractor.features(images, ALEXNET.layers)
    for layer, maps in expected.items():
        torch.testing.assert_close(found[layer], maps, rtol=1e-4, atol=1e-5)
        assert maps.abs().max() > 1e-3


def test_operations_are_those_that_pytorch_counts(features: nn.Sequential) -> None:
    with FlopCounterMode(display=False) as counter:
        features(torch.zeros(1, 3, 100, 100))
    assert ALEXNET.forward_flops(["pool5"], 100) - 2 * 256**2 * 2**2 == counter.get_total_flops()


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_what_autograd_keeps_is_what_is_counted(weights: Weights, pooling: str) -> None:
    extractor = build_extractor(weights, pooling=pooling, normalise=False)  # type: ignore[arg-type]
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    layers = ("conv1", "pool2", "pool5")
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        extractor.features(torch.rand(1, 3, 128, 128, requires_grad=True), layers, gram_matrix)
    counted = 4 * ALEXNET.activation_floats(layers, 128)
    counted += 8 * (64 * 15**2 + 192 * 7**2 + 256 * 3**2) if pooling == "max" else 0
    kernels = sum(kernel.nbytes for kernel in extractor.kernels)
    assert sum(kept.values()) == pytest.approx(counted + kernels, rel=0.02)
    assert evaluation_bytes(ALEXNET, layers, 128, pooling=pooling) >= counted


def test_normalised_filters_have_a_mean_activation_of_one(weights: Weights, features: nn.Sequential) -> None:
    extractor = build_extractor(weights)
    modules = with_average_pooling(features)
    tensors = zip(extractor.kernels, extractor.biases, strict=True)
    names = [f"{place}.{kind}" for place in (0, 3, 6, 8, 10) for kind in ("weight", "bias")]
    normalised = nn.Sequential(*(m if not isinstance(m, nn.Conv2d) else _like(m) for m in modules))
    normalised.load_state_dict(dict(zip(names, (t for pair in tensors for t in pair), strict=True)))
    images = torch.stack([torch.from_numpy(pixels).permute(2, 0, 1) for pixels in photographs()])
    with torch.no_grad():
        maps = torchvision_maps(normalised, images)
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        means = maps[layer].double().mean((0, 2, 3))
        assert (means > 0).double().mean() > 0.5
        assert (means[means > 0] - 1).abs().max() < 1e-3, layer


def _like(module: nn.Conv2d) -> nn.Conv2d:
    arguments = (module.in_channels, module.out_channels, module.kernel_size)
    return nn.Conv2d(*arguments, stride=module.stride, padding=module.padding)  # type: ignore[arg-type]


def test_published_weights_are_fetched(
    published: str, features: nn.Sequential, httpserver: HTTPServer
) -> None:
    fetched = fetch_weights("alexnet", "imagenet")
    assert fetched.origin == f"download {published}"
    assert fetched.convention == catalogue.CONVENTIONS["torchvision"]
    assert torch.equal(fetched.kernels[4], features.state_dict()["10.weight"])
    again = find_weights("alexnet", "imagenet")
    assert again.tensors_sha256 == fetched.tensors_sha256
    assert len(httpserver.log) == 1
    assert [v.intact for v in verify_weights() if v.network == "alexnet"] == [True]


@pytest.mark.usefixtures("published")
def test_the_published_file_is_recognised_wherever_it_lies(file: Path) -> None:
    found = find_weights("alexnet", str(file))
    assert (found.name, found.convention.name, found.normalised) == ("imagenet", "torchvision", False)
    assert import_weights(file, "alexnet").name == "imagenet"


def test_a_file_of_another_network_is_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"conv1_1 needs a kernel of shape \(64, 3, 3, 3\).*features\.0"):
        import_weights(file, "vgg16", convention="torchvision")


def test_the_address_says_which_file_it_is() -> None:
    entry = catalogue.published_weights("alexnet", "imagenet")
    assert entry is not None
    assert entry.url == "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
