#!/bin/sh
# Radiance pictures: the exposure in the header is ignored, and imageio makes 8 bits of them.
#
# Packages: opencv-python-headless 5.0.0.93, imageio 2.38.1, numpy 2.4.6.
#
# Expected: Radiance's document on file formats says of a picture's EXPOSURE line that the pixel values have
# been multiplied by it, and must be divided by it (by the product of all such lines) to give the original
# radiances in watts/steradian/m². Calibrated photographs for luminance statistics come in this format. A
# reader of a high-dynamic-range format returns floats.
#
# What happens: OpenCV returns the same values with and without the line, so that two photographs of one scene
# with EXPOSURE=1 and EXPOSURE=4 seem to have luminances that differ by 4 (more lines: by their product).
# imageio.v3.imread, which hands .hdr files to OpenCV, returns uint8 by default: all that is brighter than 1 is
# 255, the range that the format is for is gone, and nothing warns.
#
# Seen (radiances 0.25, 1, 4, 64 W/sr/m²):
#   no line               OpenCV float32: 0.25 1 4 64    imageio uint8: 64 255 255 255
#   EXPOSURE=4            OpenCV float32: 1 4 16 256     imageio uint8: 255 255 255 255
#   EXPOSURE=2, twice     OpenCV float32: 1 4 16 256     imageio uint8: 255 255 255 255
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 imageio==2.38.1 pillow==13.0.0 opencv-python-headless==5.0.0.93
cd "$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import sys

import cv2
import imageio.v3 as imageio
import numpy as np

radiances = np.array([0.25, 1.0, 4.0, 64.0])


def write(name, exposures):
    """Write grey pixels, whose mantissa is 128 (of 256) and whose exponent counts from 128."""
    values = radiances * np.prod(exposures)
    pixels = b"".join(bytes([128, 128, 128, int(np.log2(value)) + 129]) for value in values)
    lines = "".join(f"EXPOSURE={exposure}\n" for exposure in exposures)
    with open(name, "wb") as file:
        file.write(f"#?RADIANCE\n{lines}FORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 4\n".encode() + pixels)


changed = []
for label, exposures in (("no line", []), ("EXPOSURE=4", [4]), ("EXPOSURE=2, twice", [2, 2])):
    write("scene.hdr", exposures)
    opencv = cv2.imread("scene.hdr", cv2.IMREAD_UNCHANGED)[0, :, 0]
    image = imageio.imread("scene.hdr")[0, :, 0]
    print(label.ljust(21), f"OpenCV {opencv.dtype}:", *(f"{value:g}" for value in opencv),
          f"   imageio {image.dtype}:", *image)
    if not np.allclose(opencv, radiances * np.prod(exposures)):
        changed.append(f"OpenCV, {label}")
    if image.dtype != np.uint8 or image[1:].tolist() != [255, 255, 255]:
        changed.append(f"imageio, {label}")
if changed:
    sys.exit(f"CHANGED: {changed}")
print("As described.")
PY
