"""The natural photographs on which the filters of a network are normalised."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from stimgen.errors import StimgenError
from stimgen.images.read import skimage_file

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

PHOTOGRAPH_PX = 256


def photographs() -> Iterator[NDArray[np.float32]]:
    """Yield the photographs of `PHOTOGRAPHS` as RGB (256, 256, 3), 0..1: the largest central squares."""
    for name, sha256 in PHOTOGRAPHS.items():
        path = skimage_file(name)
        content = path.read_bytes() if path else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StimgenError(
                f"The installed scikit-image lacks the photograph {name} with the SHA-256 {sha256}.",
                "Reinstall it: pip install --force-reinstall scikit-image",
            )
        with Pillow.open(io.BytesIO(content)) as photograph:
            yield central_square(photograph)


def central_square(photograph: Pillow.Image) -> NDArray[np.float32]:
    """Return the largest central square of a photograph in 256 px: (256, 256, 3), 0..1.

    Each value is the mean of the samples whose centres lie within the pixel, along rows and then along
    columns, rounded to 8 bits after each (Pillow's BOX filter). Without rounding, mean activations of conv1_1
    in VGG-16 differ by up to 1 %; with samples weighted by their part within the pixel, by up to 3 %.
    """
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.convert("RGB").resize(
        (PHOTOGRAPH_PX, PHOTOGRAPH_PX), Pillow.Resampling.BOX, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.float32) / np.float32(255)
