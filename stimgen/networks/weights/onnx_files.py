"""Layers out of ONNX graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stimgen.networks.weights.layers import FileLayer
from stimgen.networks.weights.record import WeightsError

_DAMAGED = "The file is damaged; get it again."


def read_onnx(path: Path) -> list[FileLayer]:
    """Return convolutions and normalisations in the order of the graph, which ONNX keeps topological."""
    try:
        import onnx
    except ImportError:
        raise WeightsError(
            f"{path} is an ONNX file, and the package onnx that reads it is not installed.",
            "Install it: pip install onnx",
        ) from None
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # damaged files make the parser raise errors of almost any class
        raise WeightsError(f"{path} is not a readable ONNX file: {error}.", _DAMAGED) from None
    if not graph.node:
        raise WeightsError(f"{path} holds an empty ONNX graph.", _DAMAGED)
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def array(name: str, node: str) -> NDArray[Any]:
        if name not in stored:
            raise WeightsError(
                f"{path}: {node} computes its weights instead of storing them.",
                "Export the model with constants folded.",
            )
        if stored[name].data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{path} keeps the tensor {name} in another file, which is not opened.",
                "Save the model in one file: onnx.save(model, FILE).",
            )
        try:
            values: NDArray[Any] = onnx.numpy_helper.to_array(stored[name])
        except Exception as error:  # likewise
            raise WeightsError(f"{path}: tensor {name} is damaged: {error}.", _DAMAGED) from None
        return values

    return [
        FileLayer(
            node.name or next(iter(node.output), node.op_type),
            tuple(array(name, node.name) for name in node.input[1:] if name),
        )
        for node in graph.node
        if node.op_type in ("Conv", "BatchNormalization")
    ]
