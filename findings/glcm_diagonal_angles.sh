#!/bin/sh
# Grey-level co-occurrence: scikit-image's 45° is Haralick's (and MATLAB's) 135°.
#
# Packages: scikit-image 0.26.0, numpy 2.4.6, scipy 1.17.1.
#
# Expected: Haralick, Shanmugam & Dinstein (1973), figure 3, put the 45° neighbour at the upper right, as does
# MATLAB's graycomatrix (offset [-D D]). scikit-image's own example in the documentation of `graycomatrix`
# says so, too: pi/4 is the top-right diagonal neighbour and pi/2 the pixel above.
#
# What happens: angles turn clockwise: pi/4 is the *lower* right neighbour and pi/2 the pixel below. For
# symmetric matrices 0° and 90° don't change, which hides it, but 45° and 135° are exchanged. Stripes that
# rise to the right, which don't change along 45°, get contrast 0 at 135° and the highest contrast at 45°: an
# oblique texture is described by its mirror image, and features of the two programs don't compare.
#
# Seen (contrast of stripes that rise to the right, at 0, 45, 90, 135 degrees):
#   scikit-image         0.25 0.50 0.25 0.00
#   by Haralick's figure 0.25 0.00 0.25 0.50
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
from skimage.feature import graycomatrix, graycoprops

rows, columns = np.mgrid[:64, :64]
rising = (((rows + columns) // 4) % 2).astype(np.uint8)  # the same along (row - 1, column + 1)

angles = np.deg2rad([0, 45, 90, 135])
matrices = graycomatrix(rising, [1], angles, levels=2, symmetric=True, normed=True)
seen = graycoprops(matrices, "contrast")[0]


def contrast(up, right):
    """Mean squared difference between pixels and their neighbours `up` rows higher, `right` to the right."""
    here = rising[1:-1, 1:-1].astype(int)
    there = rising[1 - up : 63 - up, 1 + right : 63 + right].astype(int)
    return np.mean((here - there) ** 2)


wanted = [contrast(0, 1), contrast(1, 1), contrast(1, 0), contrast(1, -1)]
print("scikit-image        ", *(f"{value:.2f}" for value in seen))
print("by Haralick's figure", *(f"{value:.2f}" for value in wanted))

# One pixel of its own tells the direction, without symmetry: who has the 1 as its neighbour?
above = np.zeros((3, 3), np.uint8)
above[0, 1], above[1, 1] = 1, 2
pair = graycomatrix(above, [1], [np.pi / 2], levels=3)[:, :, 0, 0]
print("pi/2: the pixel below is the neighbour:", bool(pair[1, 2]), " the pixel above:", bool(pair[2, 1]))

swapped = [wanted[0], wanted[3], wanted[2], wanted[1]]
if not np.allclose(seen, swapped, atol=0.02):
    sys.exit(f"CHANGED: contrasts are {seen.tolist()}")
if not (pair[1, 2] == 1 and pair[2, 1] == 0):
    sys.exit("CHANGED: pi/2 is no longer the pixel below")
print("As described.")
PY
