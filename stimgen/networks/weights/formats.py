"""Weights files of all formats, read without executing anything in them."""

from __future__ import annotations

from pathlib import Path

from stimgen.networks.architectures import Architecture
from stimgen.networks.weights.layers import FileLayer, match_layers
from stimgen.networks.weights.record import Convolutions, WeightsError

SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx", ".h5", ".hdf5")
"""Endings of the files that can be read."""
MAX_BYTES = 2**31
"""Largest weights file that is read; VGG-19, with its classifier, has 0.6 GB."""


def read_convolutions(path: Path, architecture: Architecture) -> Convolutions:
    """Return the convolutions in a file, which may come from anybody.

    The convolutions must be those of `architecture` in number and shape, in the order of the file's graph,
    state dict or layers; in safetensors files, which keep no order, they are sorted by name with numbers as
    numbers. Other layers, such as a classifier, are ignored; a normalisation layer between the convolutions
    is an error.

    Raises
    ------
    WeightsError
        If the file is missing, unreadable, of unknown format, or not of this network.
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
        from stimgen.networks.weights.onnx_files import read_onnx

        return read_onnx(path)
    if suffix in (".h5", ".hdf5"):
        from stimgen.networks.weights.hdf5_files import read_h5

        return read_h5(path)
    from stimgen.networks.weights.torch_files import read_pth, read_safetensors

    return read_safetensors(path) if suffix == ".safetensors" else read_pth(path)
