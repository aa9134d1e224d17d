"""Published weights, and AlexNet compared with torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import AlexNet_Weights, VGG16_Weights, VGG19_Weights
from torchvision.models import alexnet as torchvision_alexnet

from stimgen.networks.architectures import CONVENTIONS, NETWORKS
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights.formats import Convolutions
from stimgen.references import Reference

ALEXNET = NETWORKS["alexnet"]()
RELUS_AND_POOLS = (1, 2, 4, 5, 7, 9, 11, 12)
"""Modules of torchvision's features whose outputs are the layers."""


def test_published_weights_agree_with_torchvision():
    theirs = {
        ("alexnet", "imagenet"): AlexNet_Weights.IMAGENET1K_V1,
        ("vgg16", "imagenet"): VGG16_Weights.IMAGENET1K_FEATURES,
        ("vgg16", "torchvision"): VGG16_Weights.IMAGENET1K_V1,
        ("vgg19", "imagenet"): VGG19_Weights.IMAGENET1K_V1,
    }
    ours = {(name, weights.name): weights for name in NETWORKS for weights in NETWORKS[name]().weights}
    assert list(ours) == list(theirs)
    for key, published in ours.items():
        weights = theirs[key]
        assert published.url == weights.url
        assert weights.url.endswith(f"-{published.sha256[:8]}.pth")
        assert len(published.sha256) == (8 if key == ("vgg16", "imagenet") else 64)
        convention, transforms = CONVENTIONS[published.convention], weights.transforms()
        # torchvision rounds the Oxford mean to whole grey levels.
        np.testing.assert_allclose(np.divide(convention.mean, convention.scale), transforms.mean, atol=0.003)
        np.testing.assert_allclose(np.divide(convention.std, convention.scale), transforms.std, rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_title_a_publication_and_terms_of_its_weights(name):
    architecture = NETWORKS[name]()
    assert architecture.title
    assert isinstance(architecture.reference, Reference)
    assert all(weights.licence and weights.citation for weights in architecture.weights)
    assert set(architecture.default_layers) <= set(architecture.layers)


@pytest.fixture(scope="module")
def features():
    """The convolutions, ReLUs and max pools of torchvision's AlexNet with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torchvision_alexnet(weights=None).features.requires_grad_(False)


@pytest.fixture
def weights(features):
    tensors = [tensor.numpy() for tensor in features.state_dict().values()]
    convolutions = Convolutions(tuple(tensors[::2]), tuple(tensors[1::2]))
    return convolutions.weights("alexnet", "test", CONVENTIONS["torchvision"], "test", "0" * 64)


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize(("height", "width"), [(63, 63), (64, 97)])
def test_maps_of_alexnet_are_those_of_torchvision(weights, features, pooling, height, width):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps, outputs = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1), []
    for module in features:
        average = pooling == "average" and isinstance(module, nn.MaxPool2d)
        maps = nn.AvgPool2d(3, 2)(maps) if average else module(maps)
        # torchvision's ReLU changes its input in place, and no later module changes a pool's output.
        outputs.append(maps)
    extractor = build_extractor(weights, pooling=pooling, normalise=False)
    found = extractor.features(images, ALEXNET.layers)
    for layer, place in zip(ALEXNET.layers, RELUS_AND_POOLS, strict=True):
        torch.testing.assert_close(found[layer], outputs[place], rtol=1e-4, atol=1e-5)
        assert outputs[place].abs().max() > 1e-3


def test_operations_of_alexnet_are_those_that_pytorch_counts(features):
    with FlopCounterMode(display=False) as counter:
        features(torch.zeros(1, 3, 100, 100))
    assert ALEXNET.forward_flops(["pool5"], 100) - 2 * 256**2 * 2**2 == counter.get_total_flops()
