#!/bin/sh
# Portable float maps: four ways to read one file give four luminances.
#
# Packages: Pillow 13.0.0, opencv-python-headless 5.0.0.93, imageio 2.38.1, numpy 2.4.6.
#
# Expected: the PFM header's third line is a number; its sign is the byte order and its size is the scale
# factor, which together with the unit turns a sample into a luminance (Netpbm's page "PFM graphic image file
# format"; pfmtopam multiplies by it). All readers should give the same floats, whether or not they scale.
#
# What happens with a factor of 2: Pillow ignores it, OpenCV *divides* by it, and imageio.v3.imread hands the
# file to its OpenCV plug-in, which scales likewise but then rounds to 8 bits: high dynamic range and all
# fractions are gone, with no warning. So luminances differ by the factor, or by its square if the file's
# author meant the samples to be multiplied.
#
# Seen (samples stored 0.25 1.5 300 4000, factor 2):
#   Pillow   float32 0.25 1.5 300 4000
#   OpenCV   float32 0.125 0.75 150 2000
#   imageio  uint8   0 1 150 255
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
from PIL import Image

stored = np.array([[0.25, 1.5, 300, 4000]], "<f4")
with open("luminance.pfm", "wb") as file:
    file.write(b"Pf\n4 1\n-2.0\n" + stored.tobytes())

seen = {
    "Pillow": np.asarray(Image.open("luminance.pfm")),
    "OpenCV": cv2.imread("luminance.pfm", cv2.IMREAD_UNCHANGED),
    "imageio": imageio.imread("luminance.pfm"),
}
for name, samples in seen.items():
    print(name.ljust(8), samples.dtype, *(f"{value:g}" for value in samples.ravel()[:4]))
changed = []
if not np.array_equal(seen["Pillow"].ravel(), stored.ravel()):
    changed.append("Pillow no longer ignores the factor")
if not np.array_equal(seen["OpenCV"].ravel(), stored.ravel() / 2):
    changed.append("OpenCV no longer divides by the factor")
if seen["imageio"].dtype != np.uint8:
    changed.append("imageio no longer returns 8 bits")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
