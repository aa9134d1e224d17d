"""Weights files of all formats, read without executing anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import NETWORKS, Architecture, PublishedWeights
from stimgen.networks.catalogue import CONVENTIONS, InputConvention
from stimgen.networks.weights.layers import FileLayer, match_layers
from stimgen.networks.weights.record import Convolutions, Weights, WeightsError, file_sha256

SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx", ".h5", ".hdf5")
"""Endings of the files that can be read."""
MAX_BYTES = 2**31
"""Largest weights file that is read; VGG-19, with its classifier, has 0.6 GB."""


def read_weights_file(
    path: Path, network: str, convention: str | None = None
) -> tuple[Weights, PublishedWeights | None]:
    """Return the weights in a file, and the published weights that they are recognised as.

    They are recognised by their tensors, in either order of the input channels, or by the SHA-256 of the
    file. Other files need the name of their input `convention`.
    """
    if convention is not None and convention not in CONVENTIONS:
        raise InputError(f'Unknown input convention "{convention}".', nearest(convention, CONVENTIONS))
    architecture = NETWORKS[network]()
    convolutions = read_convolutions(path, architecture)
    sha256 = file_sha256(path)
    in_order = {convolutions.sha256: "rgb", convolutions.with_input_reversed().sha256: "bgr"}
    published, name = None, path.stem
    for entry in architecture.weights:
        if entry.tensors_sha256 in in_order or sha256.startswith(entry.sha256):
            published, name = entry, entry.name
            own = CONVENTIONS[entry.convention]
            channels = in_order.get(entry.tensors_sha256 or "", own.channels)
            same = [c for c in CONVENTIONS.values() if c.in_rgb() == own.in_rgb()]
            used = next(c for c in same if c.channels == channels)
            break
    else:
        used = _named_convention(
            path, convention, convolutions.names == tuple(step.name for step in architecture.convolutions)
        )
    if convention not in (None, used.name):
        raise WeightsError(
            f'{path} is recognised as "{name}" of {network}, whose input convention is {used.name}, not '
            f"{convention}.",
            "Leave --input out.",
        )
    return convolutions.weights(network, name, used, f"file {path}", sha256), published


def _named_convention(path: Path, name: str | None, names_of_caffe: bool) -> InputConvention:
    """Return the convention that the user names for a file that is not recognised."""
    if name is not None:
        return CONVENTIONS[name]
    hint = (
        "Import it with its convention: stimgen weights import FILE --network NETWORK --name NAME "
        f"--input C, with C one of {', '.join(CONVENTIONS)}."
    )
    if names_of_caffe:
        hint += (
            " Its layers have the names of the Caffe networks, as in vgg_conv.pth of Gatys and "
            "colleagues; if it was converted from Caffe, C is caffe-bgr."
        )
    raise WeightsError(
        f"{path} is not recognised, so it is not known which input its network expects: RGB or BGR, "
        "which range, which mean.",
        hint,
    )


def read_convolutions(path: Path, architecture: Architecture) -> Convolutions:
    """Return the convolutions in a file, which may come from anybody.

    The convolutions must be those of `architecture` in number and shape, in the order of the file's graph,
    state dict or layers; in safetensors files, which keep no order, they are sorted by name with numbers as
    numbers. Other layers, such as a classifier, are ignored; a normalisation layer between the convolutions
    is an error.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.", "Check the path.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = f"Known endings: {', '.join(SUFFIXES)}."
        if suffix == ".caffemodel":
            known += " Save it as one of them in pycaffe: net.save_hdf5('FILE.caffemodel.h5')."
        raise WeightsError(f"{path} has an ending that no weights format has.", known)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(
            f"{path} has {size} bytes; weights files of up to {MAX_BYTES} are read.",
            "Save the convolutions alone.",
        )
    return match_layers(_read_layers(path, suffix), architecture, path)


def _read_layers(path: Path, suffix: str) -> list[FileLayer]:
    if suffix == ".onnx":
        return _read_onnx(path)
    if suffix in (".h5", ".hdf5"):
        from stimgen.networks.weights.hdf5_files import read_h5

        return read_h5(path)
    from stimgen.networks.weights.torch_files import read_pth, read_safetensors

    return read_safetensors(path) if suffix == ".safetensors" else read_pth(path)


def _read_onnx(path: Path) -> list[FileLayer]:
    """Return convolutions and normalisations in the order of the graph, which ONNX keeps topological."""
    try:
        import onnx
    except ImportError:
        raise WeightsError(
            f"{path} is an ONNX file, and the package onnx that reads it is not installed.",
            "Install it: pip install onnx",
        ) from None
    hint = "The file is damaged; get it again."
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # damaged files make the parser raise errors of almost any class
        raise WeightsError(f"{path} is not a readable ONNX file: {error}.", hint) from None
    if not graph.node:
        raise WeightsError(f"{path} holds an empty ONNX graph.", hint)
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
            raise WeightsError(f"{path}: tensor {name} is damaged: {error}.", hint) from None
        return values

    return [
        FileLayer(
            node.name or next(iter(node.output), node.op_type),
            tuple(array(name, node.name) for name in node.input[1:] if name),
        )
        for node in graph.node
        if node.op_type in ("Conv", "BatchNormalization")
    ]
