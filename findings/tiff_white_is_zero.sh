#!/bin/sh
# White-is-zero TIFF: whether a photograph comes out negative depends on its bit depth and on the reader.
#
# Packages: tifffile 2026.3.3, imageio 2.38.1, Pillow 13.0.0, opencv-python-headless 5.0.0.93, numpy 2.4.6.
#
# Expected: TIFF 6.0, section 3 (PhotometricInterpretation): with 0, WhiteIsZero, "0 is imaged as white".
# The tag says nothing about bit depth, so that a reader either inverts both the 8- and the 16-bit file or
# neither. Scanners, film digitisers and some lab cameras write such files.
#
# What happens: Pillow and OpenCV invert the 8-bit file and hand out the 16-bit file as stored; tifffile and
# imageio (which takes tifffile when it is there) invert neither. Nothing warns. A 16-bit set is read as its
# own negative by all four, an 8-bit set by two of them: luminance, skewness and contrast polarity of "the
# same" texture then have opposite signs.
#
# Seen (dark, mid and white pixel of the scene, as fractions of the largest sample):
#   8 bits   tifffile 1.00 0.40 0.00   imageio 1.00 0.40 0.00   Pillow 0.00 0.60 1.00   OpenCV 0.00 0.60 1.00
#   16 bits  tifffile 1.00 0.40 0.00   imageio 1.00 0.40 0.00   Pillow 1.00 0.40 0.00   OpenCV 1.00 0.40 0.00
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 tifffile==2026.3.3 imageio==2.38.1 pillow==13.0.0 opencv-python-headless==5.0.0.93
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import cv2
import imageio.v3 as imageio
import numpy as np
import tifffile
from PIL import Image

readers = {
    "tifffile": tifffile.imread,
    "imageio": imageio.imread,
    "Pillow": lambda name: np.asarray(Image.open(name)),
    "OpenCV": lambda name: cv2.imread(name, cv2.IMREAD_UNCHANGED),
}
scene = np.array([0.0, 0.6, 1.0])
inverts = {}
for dtype in (np.uint8, np.uint16):
    largest = np.iinfo(dtype).max
    stored = (largest - np.round(scene * largest)).astype(dtype)
    name = f"{stored.dtype}.tif"
    tifffile.imwrite(name, np.tile(stored, (4, 1)), photometric="miniswhite")
    with tifffile.TiffFile(name) as file:
        assert file.pages[0].photometric == 0
    line = f"{8 * stored.itemsize} bits".ljust(8)
    for reader, read in readers.items():
        seen = read(name)[0] / largest
        line += f" {reader} " + " ".join(f"{value:.2f}" for value in seen) + "  "
        inverts[reader, stored.itemsize * 8] = bool(np.allclose(seen, scene, atol=0.01))
        if not inverts[reader, stored.itemsize * 8]:
            assert np.allclose(seen, 1 - scene, atol=0.01), (reader, seen)
    print(line)
expected = {
    ("tifffile", 8): False, ("imageio", 8): False, ("Pillow", 8): True, ("OpenCV", 8): True,
    ("tifffile", 16): False, ("imageio", 16): False, ("Pillow", 16): False, ("OpenCV", 16): False,
}
changed = {key: inverts[key] for key in expected if inverts[key] != expected[key]}
if changed:
    sys.exit(f"CHANGED: inverted (reader, bits): {changed}")
print("As described.")
PY
