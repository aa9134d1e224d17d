"""The same convolutions written in every format that can be imported."""

from __future__ import annotations

from functools import partial

import h5py
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file


def _named(convolutions):
    # As in torchvision: numbers with gaps, and more than ten so that text order is not numeric order.
    numbers = range(0, 7 * len(convolutions.kernels), 7)
    tensors = {}
    for number, kernel, bias in zip(numbers, convolutions.kernels, convolutions.biases, strict=True):
        tensors[f"features.{number}.weight"] = torch.from_numpy(kernel.copy())
        tensors[f"features.{number}.bias"] = torch.from_numpy(bias.copy())
    return tensors | {
        "classifier.0.weight": torch.ones(2, 6),
        "classifier.0.bias": torch.full((2,), torch.nan),
    }


def write_pth(path, convolutions, **options):
    torch.save(_named(convolutions), path, **options)


def write_safetensors(path, convolutions):
    save_file(_named(convolutions), path)


def write_onnx(path, convolutions):
    nodes, stored, previous = [], [], "input"
    for index, (kernel, bias) in enumerate(zip(convolutions.kernels, convolutions.biases, strict=True)):
        names = [f"kernel{index}", f"bias{index}"]
        # Initialisers in reverse: only the graph says which convolution comes first.
        stored[:0] = [numpy_helper.from_array(kernel, names[0]), numpy_helper.from_array(bias, names[1])]
        nodes.append(helper.make_node("Conv", [previous, *names], [f"map{index}"], name=f"conv{index}"))
        nodes.append(helper.make_node("Relu", [f"map{index}"], [f"relu{index}"]))
        previous = f"relu{index}"
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", float32, None)],
        [helper.make_tensor_value_info(previous, float32, None)],
        stored,
    )
    onnx.save(helper.make_model(graph), path)


def write_keras2(path, convolutions, *, names, model=False):
    with h5py.File(path, "w") as file:
        if model:
            file.create_group("optimizer_weights")["Adam/m:0"] = np.ones((3, 3, 3, 4), np.float32)
        _write_keras2(file.create_group("model_weights") if model else file, convolutions, *names)


def _write_keras2(top, convolutions, layer, kernel, bias):
    names = [layer.format(index) for index in range(len(convolutions.kernels))]
    top.attrs["layer_names"] = [b"input_1", *(name.encode() for name in names), b"fc"]
    top.create_group("input_1").attrs["weight_names"] = np.array([], dtype="S1")
    # Layers are created in reverse: only the attributes say which comes first.
    for name, k, b in reversed(list(zip(names, convolutions.kernels, convolutions.biases, strict=True))):
        group = top.create_group(name)
        texts = [kernel.format(name), bias.format(name)]
        group.attrs["weight_names"] = [text.encode() for text in texts]
        group[texts[0]] = k.transpose(2, 3, 1, 0)
        group[texts[1]] = b
    dense = top.create_group("fc")
    dense.attrs["weight_names"] = [b"fc/kernel:0"]
    dense["fc/kernel:0"] = np.ones((6, 2), np.float32)


def write_keras3(path, convolutions):
    with h5py.File(path, "w") as file:
        for index, (kernel, bias) in enumerate(zip(convolutions.kernels, convolutions.biases, strict=True)):
            name = f"conv2d_{index}" if index else "conv2d"
            file[f"layers/{name}/vars/0"] = kernel.transpose(2, 3, 1, 0)
            file[f"layers/{name}/vars/1"] = bias
        file["layers/dense/vars/0"] = np.ones((6, 2), np.float32)
        file["optimizer/vars/0"] = np.ones((3, 3, 3, 4), np.float32)


def write_caffe(path, convolutions, *, old=False):
    """As Caffe's Net::ToHDF5 does: data/LAYER/NUMBER, empty groups for layers without weights, and diff."""
    with h5py.File(path, "w") as file:
        for number, (kernel, bias) in enumerate(
            zip(convolutions.kernels, convolutions.biases, strict=True), 1
        ):
            for part, factor in (("data", 1), ("diff", 0)):
                file[f"{part}/conv{number}/0"] = factor * kernel
                file[f"{part}/conv{number}/1"] = factor * (bias.reshape(1, 1, 1, -1) if old else bias)
            file.create_group(f"data/relu{number}")
        classifier = np.ones((2, 6), np.float32)
        file["data/fc6/0"] = classifier[None, None] if old else classifier
        file["data/fc6/1"] = np.ones((1, 1, 1, 2) if old else 2, np.float32)


def write_converted(path, convolutions):
    with h5py.File(path, "w") as file:
        for number, (kernel, bias) in enumerate(
            zip(convolutions.kernels, convolutions.biases, strict=True), 1
        ):
            file[f"conv{number}/weight"] = kernel
            file[f"conv{number}/bias"] = bias


WRITERS = {
    "pth": ("net.pth", write_pth),
    "legacy pth": ("net.pt", partial(write_pth, _use_new_zipfile_serialization=False)),
    "checkpoint": (
        "net.pth",
        lambda path, given: torch.save({"epoch": 3, "state_dict": _named(given)}, path),
    ),
    "safetensors": ("net.safetensors", write_safetensors),
    "onnx": ("net.onnx", write_onnx),
    "keras 2 weights": ("net.h5", partial(write_keras2, names=("z{}_conv", "{}/kernel:0", "{}/bias:0"))),
    "keras 1 names": ("net.h5", partial(write_keras2, names=("block{}_conv", "{}_W_1:0", "{}_b_1:0"))),
    "keras 2 model": (
        "net.hdf5",
        partial(write_keras2, names=("c{}", "{}/kernel", "{}/bias"), model=True),
    ),
    "keras 3": ("net.weights.h5", write_keras3),
    "caffe": ("net.caffemodel.h5", write_caffe),
    "old caffe": ("net.caffemodel.h5", partial(write_caffe, old=True)),
    "converted": ("net.h5", write_converted),
}
