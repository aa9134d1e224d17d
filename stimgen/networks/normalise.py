"""Every filter to a mean activation of 1 on natural photographs (Gatys, Ecker & Bethge 2015)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stimgen.errors import StimgenError

if TYPE_CHECKING:
    from stimgen.networks.extractor import FeatureExtractor

PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
"""Files of natural photographs in scikit-image's wheel, and their SHA-256: a person in front of flags and a
model, a photographer on grass, a cat, a table, a motorcycle in a workshop, a rocket at dusk."""

SIZE_PX = 256


def normalise_activations(extractor: FeatureExtractor) -> FeatureExtractor:
    """Return the extractor with every filter's mean activation over photographs and positions equal to 1.

    With s_l the mean activation of each filter of convolution l, the kernel becomes
    W_l[i, j] · s_(l-1)[j] / s_l[i] and the bias b_l[i] / s_l[i]. Since ReLU and both poolings commute with
    positive factors per channel, each feature map is the original one divided by its s: the network computes
    what it did, and all means come from one pass through the original network. A filter that is never active
    keeps its scale.

    Parameters
    ----------
    extractor
        Extractor in float32 or better.

    Returns
    -------
    FeatureExtractor
        A copy; `extractor` is unchanged.

    Raises
    ------
    StimgenError
        If a photograph is missing from the installed scikit-image or is another one.
    ValueError
        If the extractor's precision is below float32.

    References
    ----------
    Gatys, L. A., Ecker, A. S. & Bethge, M. (2015). Texture synthesis using convolutional neural networks.
    Advances in Neural Information Processing Systems 28, section 2.
    """
    return rescale_channels(extractor, mean_activations(extractor))


def mean_activations(
    extractor: FeatureExtractor, images: Sequence[NDArray[np.float32]] | None = None
) -> tuple[Tensor, ...]:
    """Return the mean activation of every filter over images and all positions.

    Parameters
    ----------
    extractor
        Extractor in float32 or better.
    images
        RGB images (H, W, 3), 0..1, of one size; by default the photographs.

    Returns
    -------
    tuple of Tensor
        One float64 tensor (channel,) per convolution, shallowest first, all >= 0.

    Raises
    ------
    StimgenError
        If a photograph is missing from the installed scikit-image or is another one.
    ValueError
        If the extractor's precision is below float32.
    """
    if torch.finfo(extractor.dtype).bits < 32:
        raise ValueError(f"Mean activations need float32 or better, not {extractor.dtype}.")
    layers = [step.name for step in extractor.architecture.convolutions]
    sums = [torch.zeros(len(bias), dtype=torch.float64, device=extractor.device) for bias in extractor.biases]
    images = list(photographs()) if images is None else images
    with torch.inference_mode():
        for pixels in images:
            image = torch.from_numpy(pixels).to(extractor.device).permute(2, 0, 1)[None]
            for total, maps in zip(sums, extractor.features(image, layers).values(), strict=True):
                # One photograph at a time: all layers of all of them would need gigabytes.
                total += maps.mean((0, 2, 3))
    return tuple(total / len(images) for total in sums)


def rescale_channels(extractor: FeatureExtractor, scales: Sequence[Tensor]) -> FeatureExtractor:
    """Return the extractor whose feature maps are the original ones divided by `scales`.

    Parameters
    ----------
    extractor
        Any extractor.
    scales
        One tensor (channel,) >= 0 per convolution; 0 leaves a channel as it is.

    Returns
    -------
    FeatureExtractor
        A copy; `extractor` is unchanged.
    """
    kernels, biases = [], []
    incoming = torch.ones(3, dtype=torch.float64, device=extractor.device)
    for kernel, bias, scale in zip(extractor.kernels, extractor.biases, scales, strict=True):
        outgoing = torch.where(scale > 0, scale.double(), 1.0)
        factors = (incoming[None, :] / outgoing[:, None]).to(kernel.dtype)
        kernels.append(kernel * factors[:, :, None, None])
        biases.append(bias / outgoing.to(bias.dtype))
        incoming = outgoing
    return replace(extractor, kernels=tuple(kernels), biases=tuple(biases))


def photographs() -> Iterator[NDArray[np.float32]]:
    """Yield the photographs of `PHOTOGRAPHS`: largest central square, resized to 256 px by area.

    Yields
    ------
    array of float32
        RGB (256, 256, 3), 0..1; a grey photograph has three equal channels.

    Raises
    ------
    StimgenError
        If a file is missing from the installed scikit-image or is another one.
    """
    folder = _photograph_folder()
    for name, sha256 in PHOTOGRAPHS.items():
        path = folder / name
        cure = "Reinstall it: pip install --force-reinstall scikit-image"
        if not path.is_file():
            raise StimgenError(f"The installed scikit-image lacks {path}.", cure)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StimgenError(f"{path} is not the photograph that scikit-image ships.", cure)
        with Image.open(io.BytesIO(content)) as photograph:
            yield central_square(photograph)


def central_square(photograph: Image.Image) -> NDArray[np.float32]:
    """Return the largest central square of a photograph, resized to 256 px by area: (256, 256, 3), 0..1."""
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.convert("RGB").resize(
        (SIZE_PX, SIZE_PX), Image.Resampling.BOX, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.float32) / np.float32(255)


def _photograph_folder() -> Path:
    """Return scikit-image's data folder without importing scikit-image, which is slow."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise StimgenError("scikit-image is not installed.", "Install it: pip install scikit-image")
    return Path(spec.origin).parent / "data"
