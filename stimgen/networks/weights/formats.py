"""Weights: tensors and the input that they expect, out of files of all formats or drawn at random."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stimgen.errors import InputError, nearest
from stimgen.networks.architectures import (
    CONVENTIONS,
    NETWORKS,
    Architecture,
    InputConvention,
    PublishedWeights,
)
from stimgen.networks.weights.readers import (
    CONVOLUTIONS_ALONE,
    DAMAGED,
    READERS,
    Array,
    Layer,
    WeightsError,
    read_layers,
)

if TYPE_CHECKING:
    from torch import Tensor

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
    for published in architecture.weights:
        if published.tensors_sha256 in in_order or sha256.startswith(published.sha256):
            own = CONVENTIONS[published.convention]
            channels = in_order.get(published.tensors_sha256 or "", own.channels)
            same = [c for c in CONVENTIONS.values() if c.in_rgb() == own.in_rgb()]
            used = next(c for c in same if c.channels == channels)
            if convention not in (None, used.name):
                raise WeightsError(
                    f'{path} is recognised as "{published.name}" of {network}, whose input convention is '
                    f"{used.name}, not {convention}.",
                    "Leave --input out.",
                )
            return convolutions.weights(network, published.name, used, f"file {path}", sha256), published
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
        if suffix == ".caffemodel":
            known += " Save it as one of them in pycaffe: net.save_hdf5('FILE.caffemodel.h5')."
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

    pairs: list[tuple[str, Array, Array | None]] = []
    normalisation = None
    for layer, arrays in found:
        kernels = [array for array in arrays if array.ndim == 4]
        vectors = [array for array in arrays if array.ndim == 1]
        if kernels and normalisation is not None:
            raise misfit(f"there is a normalisation layer, {normalisation}, between its convolutions")
        if len(vectors) > 1 and all(array.ndim < 2 for array in arrays):
            normalisation = layer
        biases = vectors if len(vectors) == len(kernels) else [None] * len(kernels)
        pairs += [(layer, kernel, bias) for kernel, bias in zip(kernels, biases, strict=True)]
    matched = []
    for step, (layer, kernel, bias) in zip(architecture.convolutions, pairs, strict=False):
        if bias is None or (kernel.shape, bias.shape) != (step.kernel_shape, (step.out_channels,)):
            raise misfit(
                f"{step.name} needs a kernel of shape {step.kernel_shape} (out channel, in channel, height, "
                f"width) and a bias of shape {(step.out_channels,)}, and {layer} in the file has "
                f"{kernel.shape} and {'no bias' if bias is None else bias.shape}"
            )
        matched.append([_as_float32(array, layer, path) for array in (kernel, bias)])
    if len(pairs) != len(architecture.convolutions):
        raise misfit(f"expected {len(architecture.convolutions)} convolutions, found {len(pairs)}")
    all_kernels, all_biases = zip(*matched, strict=True)
    return Convolutions(all_kernels, all_biases, tuple(layer for layer, _, _ in pairs))


def _as_float32(array: Array, layer: str, path: Path) -> NDArray[np.float32]:
    """Return a fresh, contiguous float32 copy of a tensor from a file."""
    floating = np.issubdtype(array.dtype, np.floating)
    copy = np.array(array if floating else np.nan, dtype=np.float32, order="C")
    if not np.isfinite(copy).all():
        raise WeightsError(f"{path}: {layer} holds numbers that are not finite floats.", DAMAGED)
    return copy


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, eq=False)
class Convolutions:
    """The convolutions in a weights file, shallowest first, in the channel order of the file.

    Kernels are (out channel, in channel, height, width), biases (out channel,); `names` are the layers'.
    """

    kernels: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    names: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """The identity of weights: the same for the same numbers, whatever file they came from.

        It is the SHA-256 over kernel, bias, kernel, bias, … as little-endian float32 in C order.
        """
        digest = hashlib.sha256()
        for arrays in zip(self.kernels, self.biases, strict=True):
            for array in arrays:
                digest.update(np.ascontiguousarray(array, dtype="<f4").data)
        return digest.hexdigest()

    def with_input_reversed(self) -> Convolutions:
        """Return the same convolutions for an input with its channels in reverse order (BGR to RGB)."""
        first, *rest = self.kernels
        return replace(self, kernels=(np.ascontiguousarray(first[:, ::-1]), *rest))

    def weights(
        self, network: str, name: str, convention: InputConvention, origin: str, file_sha256: str
    ) -> Weights:
        """Return these convolutions ready for use; BGR kernels are put into RGB order."""
        ordered = self if convention.channels == "rgb" else self.with_input_reversed()
        kernels, biases = ordered.tensors()
        sha256 = ordered.sha256
        return Weights(network, name, kernels, biases, convention.in_rgb(), origin, file_sha256, sha256)

    def tensors(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return kernels and biases as tensors of PyTorch."""
        import torch

        return tuple(map(torch.from_numpy, self.kernels)), tuple(map(torch.from_numpy, self.biases))


@dataclass(frozen=True, eq=False)
class Weights:
    """The convolutions of one network, ready for use.

    `kernels` and `biases` are float32 tensors (out channel, in channel, height, width) and (out channel,),
    shallowest first, for RGB input in the given `convention`. `origin` says in words where they were found,
    and `file_sha256` is that of the file that they were first read from. If they are `normalised`, every
    filter has a mean activation of about 1 already, and they are used as they are.
    """

    network: str
    name: str
    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    convention: InputConvention
    origin: str
    file_sha256: str
    tensors_sha256: str
    normalised: bool = False


def random_weights(network: str, seed: int = 0) -> Weights:
    """Return weights of a network before training: kernels from a normal distribution, biases 0.

    The variance is 2 / fan-in (He et al. 2015, eq. 10), with fan-in input channels times kernel height times
    width. With ReLU it keeps the scale of the activations from layer to layer for an input with mean 0 and
    variance 1. NumPy's generator with `seed` draws the kernels shallowest first in float32, the same on every
    machine.

    References
    ----------
    He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification. ICCV. arXiv:1502.01852.
    """
    rng = np.random.default_rng(seed)
    kernels, biases = [], []
    for step in NETWORKS[network]().convolutions:
        spread = np.float32(np.sqrt(2 / (step.in_channels * step.kernel**2)))
        kernels.append(spread * rng.standard_normal(step.kernel_shape, dtype=np.float32))
        biases.append(np.zeros(step.out_channels, np.float32))
    convolutions = Convolutions(tuple(kernels), tuple(biases))
    convention, origin = CONVENTIONS["torchvision"], f"NumPy's generator with seed {seed}"
    return convolutions.weights(network, f"random:{seed}", convention, origin, convolutions.sha256)
