#!/bin/sh
# MAT files: scipy gives an image the type it was *packed* with, not the class it had in MATLAB.
#
# Packages: scipy 1.17.1, numpy 2.4.6.
#
# Expected: a variable of class double is read as float64, a logical one as bool. The MAT-File Format document
# (level 5) keeps the two apart: the class says what the variable is; the data element's type may be any
# smaller integer that holds the values, so that MATLAB and Octave write a double image of whole numbers as
# bytes. `scipy.io.whosmat` reports the class.
#
# What happens: by default `loadmat` returns the packed type. Which type an image gets depends on its pixels:
# [0 128 255] is uint8, [0 128 255.5] is float64, [-1 0 255] is int16. Subtracting the mean grey, or squaring
# for the RMS contrast, then wraps round without a warning. A logical mask is uint8, and picture[mask] takes
# rows 0 and 1 again and again instead of the masked pixels, also without an error.
# `mat_dtype=True` gives the classes back; the documentation mentions it, but it is off by default.
#
# Seen:
#   image    whosmat: double   loadmat: uint8
#   halves   whosmat: double   loadmat: float64
#   signed   whosmat: double   loadmat: int16
#   mask     whosmat: logical  loadmat: uint8
#   image - 128 = 128 0 127   mean of squares 0 of 27136
#   picture[mask].shape = (3, 3, 3)   (3 masked pixels)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import struct
import sys

import numpy as np
from scipy.io import loadmat, savemat, whosmat

DOUBLE_CLASS, INT8, UINT8, INT16, DOUBLE, UINT32, INT32, MATRIX = 6, 1, 2, 3, 9, 6, 5, 14


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def variable(name, values, kind, packed):
    """A real matrix of class double, whose numbers are packed as `packed`, as MATLAB packs them."""
    array = np.array(values, packed, ndmin=2)
    return element(
        MATRIX,
        element(UINT32, struct.pack("<II", DOUBLE_CLASS, 0))
        + element(INT32, struct.pack("<ii", *array.shape))
        + element(INT8, name.encode())
        + element(kind, array.tobytes(order="F")),
    )


header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
with open("images.mat", "wb") as file:
    file.write(header + variable("image", [0, 128, 255], UINT8, "u1")
               + variable("halves", [0.5, 128.5, 255.5], DOUBLE, "<f8")
               + variable("signed", [-1, 0, 255], INT16, "<i2"))
savemat("mask.mat", {"mask": np.eye(3, dtype=bool)})

classes = {name: kind for file in ("images.mat", "mask.mat") for name, _, kind in whosmat(file)}
read = {**loadmat("images.mat"), **loadmat("mask.mat")}
types = {name: str(read[name].dtype) for name in classes}
for name in classes:
    print(name.ljust(8), "whosmat:", classes[name].ljust(8), "loadmat:", types[name])
difference = (read["image"] - 128).ravel().tolist()
squares = int(np.mean(read["image"] ** 2))
shape = np.arange(9.0).reshape(3, 3)[read["mask"]].shape
print("image - 128 =", *difference, "  mean of squares", squares, "of", (0**2 + 128**2 + 255**2) // 3)
print("picture[mask].shape =", shape)

changed = []
if classes != {"image": "double", "halves": "double", "signed": "double", "mask": "logical"}:
    changed.append(f"classes {classes}")
if types != {"image": "uint8", "halves": "float64", "signed": "int16", "mask": "uint8"}:
    changed.append(f"types {types}")
if (difference, squares, shape) != ([128, 0, 127], 0, (3, 3, 3)):
    changed.append("sums")
kept = {**loadmat("images.mat", mat_dtype=True), **loadmat("mask.mat", mat_dtype=True)}
if [kept[name].dtype for name in classes] != [float, float, float, bool]:
    changed.append("mat_dtype=True no longer restores the classes")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
