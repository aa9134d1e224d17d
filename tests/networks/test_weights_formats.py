from __future__ import annotations

import sys
from dataclasses import replace

import network_files
import numpy as np
import pytest
import torch
from network_files import WRITERS

from stimgen.networks.architectures import NETWORKS, Architecture
from stimgen.networks.weights import WeightsError
from stimgen.networks.weights.formats import Convolutions, read_convolutions


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_weights(kind, tmp_path, tiny, convolutions):
    name, write = WRITERS[kind]
    write(tmp_path / name, convolutions)
    found = read_convolutions(tmp_path / name, tiny)
    assert found.sha256 == convolutions.sha256
    for tensor, expected in zip(found.kernels, convolutions.kernels, strict=True):
        np.testing.assert_array_equal(tensor, expected)


def test_more_than_ten_layers_keep_their_order(tmp_path):
    vgg16 = NETWORKS["vgg16"]()
    rng = np.random.default_rng(1)
    deep = Architecture(
        "deep", tuple(replace(vgg16.convolutions[1], name=f"c{i}") for i in range(12)), "none", ("c0",)
    )
    kernels = tuple(rng.standard_normal(c.kernel_shape).astype(np.float32) for c in deep.convolutions)
    expected = Convolutions(kernels, tuple(kernel[:, 0, 0, 0].copy() for kernel in kernels))
    for kind in ("safetensors", "keras 3", "caffe", "converted"):
        name, write = WRITERS[kind]
        write(tmp_path / name, expected)
        assert read_convolutions(tmp_path / name, deep).sha256 == expected.sha256


@pytest.mark.parametrize("kind", WRITERS)
def test_a_truncated_file_is_an_error_that_says_what_to_do(kind, tmp_path, tiny, convolutions):
    name, write = WRITERS[kind]
    path = tmp_path / name
    write(path, convolutions)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError) as caught:
        read_convolutions(path, tiny)
    assert str(path) in caught.value.problem
    assert caught.value.cure


def test_a_pickled_model_or_tensor_is_not_a_state_dict(tmp_path, tiny):
    torch.save(torch.nn.Conv2d(3, 4, 3), tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"model\.pth(.|\n)*torch.save\(model.state_dict\(\), FILE\)"):
        read_convolutions(tmp_path / "model.pth", tiny)
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    with pytest.raises(WeightsError, match=r"tensor\.pth holds a Tensor, not a state dict"):
        read_convolutions(tmp_path / "tensor.pth", tiny)


def test_a_shape_that_does_not_fit_names_layer_expected_and_found(tmp_path, tiny, convolutions):
    first, second, third = convolutions.kernels
    wrong = replace(convolutions, kernels=(first, second[:, :3], third))
    for kind, layer in [("pth", "features.7"), ("onnx", "conv1"), ("keras 3", "layers/conv2d_1")]:
        name, write = WRITERS[kind]
        write(tmp_path / name, wrong)
        with pytest.raises(WeightsError) as caught:
            read_convolutions(tmp_path / name, tiny)
        assert (
            f"bias of shape (4,), and {layer} in the file has (4, 3, 3, 3) and (4,)" in caught.value.problem
        )


def test_too_few_and_too_many_convolutions_are_refused(tmp_path, tiny, convolutions):
    kernels, biases = convolutions.kernels, convolutions.biases
    path = tmp_path / "net.pth"
    network_files.write_pth(path, Convolutions(kernels[:2], biases[:2]))
    with pytest.raises(WeightsError, match="expected 3 convolutions, found 2"):
        read_convolutions(path, tiny)
    network_files.write_pth(path, Convolutions((*kernels, kernels[2]), (*biases, biases[2])))
    with pytest.raises(WeightsError, match="expected 3 convolutions, found 4"):
        read_convolutions(path, tiny)


def test_missing_bias_batch_normalisation_integers_and_nan_are_refused(net, tiny, convolutions):
    good = torch.load(net, weights_only=True)

    def refused(tensors, message):
        torch.save(tensors, net)
        with pytest.raises(WeightsError, match=message):
            read_convolutions(net, tiny)

    bias = "features.7.bias"
    refused({k: v for k, v in good.items() if k != bias}, r"conv1_2 needs .*features\.7 .* and no bias")
    refused(good | {bias: torch.ones(5)}, r"conv1_2 needs .* a bias of shape \(4,\), .* and \(5,\)")
    refused(good | {bias: good[bias] * torch.nan}, "features.7 holds numbers that are not finite")
    refused({k: v.int() for k, v in good.items()}, "expected 3 convolutions, found 0")
    items = list(good.items())
    norm = [(f"bn.{n}", torch.ones(4)) for n in ("weight", "bias", "running_mean", "running_var")]
    refused(dict([*items[:2], *norm, *items[2:]]), "a normalisation layer, bn, between its convolutions")
    torch.save(dict([*items, *norm]), net)
    assert read_convolutions(net, tiny).sha256 == convolutions.sha256


def test_half_precision_becomes_float32(net, tiny):
    rounded = {k: v.bfloat16() for k, v in torch.load(net, weights_only=True).items()}
    torch.save(rounded, net)
    found = read_convolutions(net, tiny)
    np.testing.assert_array_equal(found.kernels[0], rounded["features.0.weight"].float())
    assert found.kernels[0].dtype == np.float32


@pytest.mark.parametrize(("kind", "module"), [("onnx", "onnx"), ("keras 3", "h5py")])
def test_a_missing_reader_names_the_command_that_installs_it(
    kind, module, tmp_path, tiny, convolutions, monkeypatch
):
    name, write = WRITERS[kind]
    write(tmp_path / name, convolutions)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WeightsError, match=rf"{module} that reads it(.|\n)*pip install {module}"):
        read_convolutions(tmp_path / name, tiny)


def test_an_unknown_ending_lists_the_known_ones(tmp_path, tiny):
    (tmp_path / "net.caffemodel").touch()
    with pytest.raises(
        WeightsError,
        match=r"ending that no weights format has\.\nKnown endings: \.pth(.|\n)*net\.save_hdf5\('",
    ):
        read_convolutions(tmp_path / "net.caffemodel", tiny)
    with pytest.raises(WeightsError, match=r"no weights file .*none\.pth"):
        read_convolutions(tmp_path / "none.pth", tiny)
