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

    from stimgen.images import pixels

from fuzz_checks import check_image
from fuzz_seeds import images, with_right_checksums
from fuzz_start import start

# Pillow warns of damaged files before it refuses them.
warnings.simplefilter("ignore")
# Images up to the real limit may take seconds, and most of the memory of a fuzzer.
pixels.MAX_PIXELS = 2**18


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    return with_right_checksums(atheris.Mutate(data, max_size))[:max_size]


if __name__ == "__main__":
    start(sys.argv, check_image, images(), mutate=mutate, max_len=6000)
