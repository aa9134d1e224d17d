"""Weights files of all formats: the convolutions of a network, and the input that they expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import CONVENTIONS, NETWORKS, Architecture, PublishedWeights
from stimgen.networks.weights.layer import Array, Layer, described
from stimgen.networks.weights.readers import CONVOLUTIONS_ALONE, DAMAGED, READERS, read_layers
from stimgen.networks.weights.record import Convolutions, Weights, WeightsError, file_sha256

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
    orders = [convolutions]
    if path.suffix.lower() == ".mat":  # some converters to MatConvNet left the kernels transposed
        orders.append(convolutions.with_kernels_transposed())
    in_order = {}
    for arranged in orders:
        in_order[arranged.sha256] = arranged, "rgb"
        in_order[arranged.with_input_reversed().sha256] = arranged, "bgr"
    for published in architecture.weights:
        if published.tensors_sha256 in in_order or sha256.startswith(published.sha256):
            own = CONVENTIONS[published.convention]
            arranged, channels = in_order.get(published.tensors_sha256 or "", (convolutions, own.channels))
            same = [c for c in CONVENTIONS.values() if c.in_rgb() == own.in_rgb()]
            used = next(c for c in same if c.channels == channels)
            if convention not in (None, used.name):
                raise WeightsError(
                    f'{path} is recognised as "{published.name}" of {network}, whose input convention is '
                    f"{used.name}, not {convention}.",
                    "Leave --input out.",
                )
            return arranged.weights(network, published.name, used, f"file {path}", sha256), published
    if convention is not None:
        used = CONVENTIONS[convention]
        return convolutions.weights(network, path.stem, used, f"file {path}", sha256), None
    hint = (
        "Import it with its convention: stimgen weights import FILE --network NETWORK --name NAME "
        f"--input C, with C one of {', '.join(CONVENTIONS)}."
    )
    if convolutions.names == tuple(step.name for step in architecture.convolutions):
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

    They must be those of `architecture` in number and shape, in the order of `read_layers`. Other layers,
    such as a classifier, are ignored; a normalisation layer between the convolutions is an error.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.", "Check the path.")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        known = f"Known endings: {', '.join(READERS)}."
        raise WeightsError(f"{path} has an ending that no weights format has.", known)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(
            f"{path} has {size} bytes; weights files of up to {MAX_BYTES} are read.", CONVOLUTIONS_ALONE
        )
    return match_layers(read_layers(path), architecture, path)


def match_layers(found: Sequence[Layer], architecture: Architecture, path: Path) -> Convolutions:
    """Return the convolutions among `found`, which must be those of `architecture` by order and shape."""
    network = architecture.name

    def misfit(problem: str) -> WeightsError:
        hint = f"Use a file with the convolutions of {network}, from {architecture.layers[0]} on."
        return WeightsError(f"{path} does not fit {network}: {problem}.", hint)

    pairs: list[tuple[str, Array, Array | None, str | None]] = []
    normalisation = None
    for layer, arrays, geometry in found:
        kernels = [array for array in arrays if array.ndim == 4]
        vectors = [array for array in arrays if array.ndim == 1]
        if kernels and normalisation is not None:
            raise misfit(f"there is a normalisation layer, {normalisation}, between its convolutions")
        if len(vectors) > 1 and all(array.ndim < 2 for array in arrays):
            normalisation = layer
        biases = vectors if len(vectors) == len(kernels) else [None] * len(kernels)
        pairs += [(layer, kernel, bias, geometry) for kernel, bias in zip(kernels, biases, strict=True)]
    matched = []
    for step, (layer, kernel, bias, geometry) in zip(architecture.convolutions, pairs, strict=False):
        if bias is None or (kernel.shape, bias.shape) != (step.kernel_shape, (step.out_channels,)):
            raise misfit(
                f"{step.name} needs a kernel of shape {step.kernel_shape} (out channel, in channel, height, "
                f"width) and a bias of shape {(step.out_channels,)}, and {layer} in the file has "
                f"{kernel.shape} and {'no bias' if bias is None else bias.shape}"
            )
        expected = described([step.stride], [step.padding])
        if geometry not in (None, expected):
            raise misfit(f"{step.name} has {expected}, and {layer} in the file has {geometry}")
        matched.append([_as_float32(array, layer, path) for array in (kernel, bias)])
    if len(pairs) != len(architecture.convolutions):
        raise misfit(f"expected {len(architecture.convolutions)} convolutions, found {len(pairs)}")
    all_kernels, all_biases = zip(*matched, strict=True)
    return Convolutions(all_kernels, all_biases, tuple(layer for layer, *_ in pairs))


def _as_float32(array: Array, layer: str, path: Path) -> NDArray[np.float32]:
    """Return a fresh, contiguous float32 copy of a tensor from a file."""
    floating = np.issubdtype(array.dtype, np.floating)
    copy = np.array(array if floating else np.nan, dtype=np.float32, order="C")
    if not np.isfinite(copy).all():
        raise WeightsError(f"{path}: {layer} holds numbers that are not finite floats.", DAMAGED)
    return copy
