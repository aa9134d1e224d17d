#!/bin/sh
# MAT files: a list of stimulus names comes back with blanks at its end, so that the files are "not found".
#
# Packages: scipy 1.17.1, numpy 2.4.6.
#
# Expected: what `scipy.io.savemat` writes, `scipy.io.loadmat` reads back: ["brick.png", "gravel_02.png"]
# becomes a cell array of strings (MATLAB's usual list of names) or at least the same texts. The reference
# page of savemat says nothing about lists of texts.
#
# What happens: a list of texts (and a NumPy array of texts) is written as one character matrix, whose rows
# MATLAB wants equally long: all but the longest name get blanks, which loadmat keeps. Nothing warns. Names of
# equal length, such as tex_01.png and tex_02.png, work, so that the fault shows with the first longer name.
# An array with dtype=object is written as a cell array and is right. Numbers in such a list become texts of
# 21 characters.
#
# Seen:
#   list          'brick.png    ' 'gravel_02.png'   exist: False True
#   text array    'brick.png    ' 'gravel_02.png'   exist: False True
#   object array  'brick.png' 'gravel_02.png'   exist: True True
#   [1, 'a']      '1                    ' 'a                    '
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat, savemat

names = ["brick.png", "gravel_02.png"]
for name in names:
    Path(name).touch()


def round_trip(value):
    savemat("list.mat", {"names": value})
    return [str(text) for text in loadmat("list.mat", simplify_cells=True)["names"]]


changed = []
for kind, value, wanted in (
    ("list", names, ["brick.png    ", "gravel_02.png"]),
    ("text array", np.array(names), ["brick.png    ", "gravel_02.png"]),
    ("object array", np.array(names, dtype=object), names),
):
    seen = round_trip(value)
    print(kind.ljust(13), *map(repr, seen), "  exist:", *(Path(text).exists() for text in seen))
    if seen != wanted:
        changed.append(f"{kind} gives {seen}")
mixed = round_trip([1, "a"])
print("[1, 'a']     ", *map(repr, mixed))
if mixed != ["1".ljust(21), "a".ljust(21)]:
    changed.append(f"[1, 'a'] gives {mixed}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
