"""Layers of Caffe's own files, .caffemodel, and of MatConvNet's, .mat."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from stimgen.networks.weights.layer import Array, Layer, described

COMPRESSED = 15
MOST_COMPRESSED, SMALL_BYTES = 20, 2**20
"""Weights hardly shrink when they are compressed."""

MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Shape": {"dim": (1, "INT64", True)},
    "Blob": {
        "num": (1, "INT32", False),
        "channels": (2, "INT32", False),
        "height": (3, "INT32", False),
        "width": (4, "INT32", False),
        "data": (5, "FLOAT", True),
        "shape": (7, "Shape", False),
    },
    "Convolution": {
        "pad": (3, "UINT32", True),
        "group": (5, "UINT32", False),
        "stride": (6, "UINT32", True),
        "pad_h": (9, "UINT32", False),
        "pad_w": (10, "UINT32", False),
        "stride_h": (13, "UINT32", False),
        "stride_w": (14, "UINT32", False),
        "dilation": (18, "UINT32", True),
    },
    "Layer": {
        "name": (1, "STRING", False),
        "blobs": (7, "Blob", True),
        "convolution": (106, "Convolution", False),
    },
    "OldLayer": {
        "name": (4, "STRING", False),
        "blobs": (6, "Blob", True),
        "convolution": (10, "Convolution", False),
    },
    "Net": {"old": (2, "OldLayer", True), "new": (100, "Layer", True)},
}
"""The part of Caffe's format that holds weights: number, type and whether a list, of each field.

Field numbers are those of caffe.proto, in which Caffe documents its files. ``old`` are the layers of files
from before July 2014, such as the Oxford networks.
"""


def read_caffemodel(path: Path) -> list[Layer]:
    """Return the layers of a .caffemodel file in its order; kernels are not turned."""
    net = net_message().FromString(path.read_bytes())
    layers = []
    for layer in (*net.old, *net.new):
        convolution = layer.convolution if layer.HasField("convolution") else None
        arrays = [_array(blob) for blob in layer.blobs]
        if convolution is not None:
            arrays[1:] = [array.reshape(-1) for array in arrays[1:]]
        layers.append(Layer(layer.name, arrays, None if convolution is None else _described(convolution)))
    return [layer for layer in layers if layer.arrays]


def _described(convolution: Any) -> str:
    pads = list(convolution.pad) or [convolution.pad_h, convolution.pad_w]
    strides = list(convolution.stride) or [convolution.stride_h or 1, convolution.stride_w or 1]
    return described(strides, pads, list(convolution.dilation) or [1], convolution.group or 1)


def _array(blob: Any) -> Array:
    """Return the numbers of a blob; before Caffe had shapes, all had four dimensions."""
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    return np.array(blob.data, np.float32).reshape(shape)


def net_message() -> Any:
    """Return the class of the message `Net`, made from `MESSAGES`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, is_list) in fields.items():
            label = kinds.LABEL_REPEATED if is_list else kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            made.type = kinds.TYPE_MESSAGE if kind in MESSAGES else getattr(kinds, f"TYPE_{kind}")
            if kind in MESSAGES:
                made.type_name = f".caffe.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Net"))


def read_matconvnet(path: Path) -> list[Layer]:
    """Return the convolutions of a MatConvNet file (SimpleNN), in its order.

    Filters are (height, width, in channel, out channel), correlated with the image as in PyTorch. The
    published networks, such as imagenet-vgg-verydeep-19.mat, take RGB.
    """
    from scipy.io import loadmat

    _refuse_bombs(path)
    content = loadmat(path, variable_names=["layers", "net"], squeeze_me=True, struct_as_record=False)
    layers = content["layers"] if "layers" in content else content["net"].layers
    found = []
    for layer in np.atleast_1d(layers):
        if getattr(layer, "type", None) != "conv":
            continue
        filters, biases = layer.weights if hasattr(layer, "weights") else (layer.filters, layer.biases)
        kernel = np.asarray(filters)
        kernel = kernel.reshape(*kernel.shape, *([1] * (4 - kernel.ndim))).transpose(3, 2, 0, 1)
        geometry = described(
            np.atleast_1d(getattr(layer, "stride", 1)),
            np.atleast_1d(getattr(layer, "pad", 0)),
            np.atleast_1d(getattr(layer, "dilate", 1)),
        )
        found.append(Layer(str(layer.name), [kernel, np.atleast_1d(np.asarray(biases))], geometry))
    return found


def _refuse_bombs(path: Path) -> None:
    """Raise ValueError if compressed elements of a MATLAB 5 file hold far more than weights can.

    The file is a header of 128 bytes and elements, each with its type and length; type 15 is compressed with
    zlib (MathWorks, "MAT-File Format").
    """
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            if kind != COMPRESSED:
                file.seek(length, 1)
                continue
            unpack, most = zlib.decompressobj(), MOST_COMPRESSED * length + SMALL_BYTES
            for start in range(0, length, SMALL_BYTES):
                most -= len(unpack.decompress(file.read(min(SMALL_BYTES, length - start)), most + 1))
                if most < 0 or unpack.unconsumed_tail:
                    raise ValueError("it is compressed more than weights can be")
