#!/bin/sh
# 16-bit RGB TIFF stored in planes: Pillow and OpenCV return other pixels, each in its own way, without an error.
#
# Packages: Pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3, imageio 2.38.1, numpy 2.4.6.
#
# Expected: TIFF 6.0 (PlanarConfiguration 2) puts R, G and B in planes of their own, each sample as wide as
# BitsPerSample says. A reader gives (height, width, 3) with the values that were stored, or their upper
# bytes, or refuses. Calibrated and multispectral cameras and microscopes write such files.
#
# What happens, without compression:
#   Pillow takes the two bytes of every 16-bit sample for two 8-bit pixels of a plane, so that a row shows the
#   low and high bytes of its left half in turn, and the right half is lost;
#   OpenCV takes three neighbours of the R plane for the R, G and B of one pixel, so that the picture is
#   squeezed to a third, colourful, and G and B are lost;
#   imageio (through tifffile) has the right samples, but as (3, height, width), which most programs don't
#   take for a colour image.
# The same file with 8 bits a sample is read right by both, and with Deflate compression Pillow returns the
# upper bytes: a test with another file finds nothing.
#
# Seen (stored R of the first row: 1000 2001 3002 4003; first pixel: 1000 9008 17016):
#   Pillow   (2, 4, 3) uint8   R of the first row: 232 3 209 ...      first pixel: 232 48 120
#   OpenCV   (2, 4, 3) uint16  R of the first row: 1000 4003 7006 ...   first pixel: 1000 2001 3002
#   imageio  (3, 2, 4) uint16
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 tifffile==2026.3.3 imageio==2.38.1 pillow==13.0.0 opencv-python-headless==5.0.0.93
cd "$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import sys

import cv2
import imageio.v3 as imageio
import numpy as np
import tifffile
from PIL import Image


def written(planes, **options):
    tifffile.imwrite("planar.tif", planes, photometric="rgb", planarconfig="separate", **options)
    pillow = np.asarray(Image.open("planar.tif"))
    opencv = cv2.imread("planar.tif", cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    return pillow, opencv, imageio.imread("planar.tif")


planes = (1000 + 1001 * np.arange(24).reshape(3, 2, 4)).astype("<u2")  # planes, rows, columns
wanted = np.moveaxis(planes, 0, -1)
changed = []

pillow, opencv, image = written(planes, byteorder="<")
for name, pixels in (("Pillow", pillow), ("OpenCV", opencv)):
    first = "first pixel: " + " ".join(map(str, pixels[0, 0]))
    print(name.ljust(8), pixels.shape, pixels.dtype, "R of the first row:", *pixels[0, :3, 0], first)
print("imageio ", image.shape, image.dtype)
if pillow.dtype != np.uint8 or bytes(pillow[0, :, 0]) != planes[0, 0, :2].tobytes():
    changed.append(f"Pillow's first row is {pillow[0].tolist()}")
if opencv.dtype != np.uint16 or opencv[0].ravel()[:8].tolist() != planes[0].ravel().tolist():
    changed.append(f"OpenCV's first row is {opencv[0].tolist()}")
if image.shape != (3, 2, 4):
    changed.append(f"imageio's shape is {image.shape}")

pillow, _, _ = written(planes, byteorder="<", compression="zlib")
if not np.array_equal(pillow, wanted >> 8):
    changed.append("Pillow no longer returns the upper bytes of the compressed file")
pillow, opencv, _ = written((planes >> 8).astype("u1"))
if not (np.array_equal(pillow, wanted >> 8) and np.array_equal(opencv, wanted >> 8)):
    changed.append("the 8-bit file is no longer read right")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
