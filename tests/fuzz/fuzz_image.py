"""Fuzz the image reader: any bytes give pixels in 0..1 or an ImageError.

python tests/fuzz/fuzz_image.py CORPUS -max_total_time=300
"""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["stimgen", "tifffile", "PIL"]):
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin  # noqa: F401

    from stimgen.images import samples
    from stimgen.images.pixels import ImageError
    from stimgen.images.read import decode

import numpy as np
from fuzz_seeds import images, with_right_checksums
from fuzz_start import start

# What is said about damaged files on the way to refusing them.
warnings.simplefilter("ignore")
# Images up to the true limit are allowed to take seconds, and most of the memory that fuzzing may take.
samples.MAX_PIXELS = 2**18


def check(data: bytes) -> None:
    try:
        decoded, file_format = decode(data, "fuzzed")
        pixels = samples.to_unit_range(decoded, "fuzzed")
    except ImageError as error:
        str(error).encode()
        return
    assert file_format in {"PNG", "JPEG", "TIFF"}
    assert pixels.dtype == np.float32
    assert pixels.size
    assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    assert np.isfinite(pixels).all()
    assert pixels.min() >= 0
    assert pixels.max() <= 1


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    return with_right_checksums(atheris.Mutate(data, max_size))[:max_size]


if __name__ == "__main__":
    start(sys.argv, check, images(), mutate=mutate, max_len=6000)
