from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS, Architecture, Convolution, Pool
from stimgen.networks.extractor import FeatureExtractor


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Chains of one to five steps of any geometry, one channel each."""
    steps: list[Convolution | Pool] = []
    window, step = st.integers(1, 5), st.integers(1, 4)
    for number in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            channels = 1 if any(isinstance(step, Convolution) for step in steps) else 3
            padding = draw(st.integers(0, 4))
            steps.append(Convolution(f"conv{number}", channels, 1, draw(window), draw(step), padding))
        elif steps:
            steps.append(Pool(f"pool{number}", draw(window), draw(step)))
    if not steps:
        steps.append(Convolution("conv", 3, 1, draw(window), draw(step), draw(st.integers(0, 4))))
    return Architecture("any", tuple(steps), "none", ())


def extractor_of(architecture: Architecture, pooling: str) -> FeatureExtractor:
    return FeatureExtractor(
        architecture=architecture,
        pooling=pooling,  # type: ignore[arg-type]
        kernels=tuple(torch.ones(step.kernel_shape) for step in architecture.convolutions),
        biases=tuple(torch.zeros(step.out_channels) for step in architecture.convolutions),
        gain=torch.ones(1, 3, 1, 1),
        shift=torch.zeros(1, 3, 1, 1),
    )


def side_of_maps(architecture: Architecture, layer: str, side: int) -> int:
    """The side of a layer's maps, by running PyTorch's functions; 0 where they raise."""
    maps = torch.zeros(1, 1, side, side)
    try:
        for step in architecture.upto(layer):
            if isinstance(step, Convolution):
                maps = F.conv2d(
                    maps, torch.ones(1, 1, step.kernel, step.kernel), None, step.stride, step.padding
                )
            else:
                maps = F.max_pool2d(maps, step.kernel, step.stride)
    except RuntimeError as error:
        assert "smaller" in str(error) or "size" in str(error)  # noqa: PT017
        return 0
    return maps.shape[-1]


def check(architecture: Architecture, layer: str, pooling: str) -> None:
    smallest = architecture.smallest_px(layer)
    assert side_of_maps(architecture, layer, smallest) >= 1
    extractor = extractor_of(architecture, pooling)
    shape = extractor.features(torch.zeros(1, 3, smallest, smallest + 3), [layer])[layer].shape
    assert min(shape) >= 1
    assert shape[2] == side_of_maps(architecture, layer, smallest)
    *_, (step, _, side) = architecture.maps([layer], smallest)
    assert (step.name, side) == (layer, shape[2])
    if smallest > 1:
        assert side_of_maps(architecture, layer, smallest - 1) == 0
        advice = f"at least {smallest} px"
        with pytest.raises(InputError, match=advice):
            extractor.features(torch.zeros(1, 3, smallest + 9, smallest - 1), [layer])
        with pytest.raises(InputError, match=advice):
            architecture.forward_flops([layer], smallest - 1)


@given(architecture=architectures(), pooling=st.sampled_from(["average", "max"]))
def test_the_smallest_image_of_any_layer_is_the_smallest_that_pytorch_takes(
    architecture: Architecture, pooling: str
) -> None:
    for layer in architecture.layers:
        check(architecture, layer, pooling)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_image_of_registered_networks(name: str) -> None:
    architecture = NETWORKS[name]()
    sizes = [architecture.smallest_px(layer) for layer in architecture.layers]
    assert sizes == sorted(sizes)
    assert all(architecture.receptive_field(layer) >= side for layer, side in zip(architecture.layers, sizes))  # noqa: B905
    for layer, side in zip(architecture.layers, sizes, strict=True):
        assert side_of_maps(architecture, layer, side) >= 1
        assert side == 1 or side_of_maps(architecture, layer, side - 1) == 0
    assert set(architecture.default_layers) <= set(architecture.layers)


def test_the_smallest_images_of_vgg_are_its_strides() -> None:
    vgg19 = NETWORKS["vgg19"]()
    assert all(vgg19.smallest_px(layer) == vgg19.stride(layer) for layer in vgg19.layers)
