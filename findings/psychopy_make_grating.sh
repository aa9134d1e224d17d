#!/bin/sh
# PsychoPy's makeGrating: contrast counts for one kind of grating in four, and the size is not always the size.
#
# Packages: psychopy-lib 2026.2.5, numpy 2.4.6.
#
# Expected: `visual.filters.makeGrating(res, ori, cycles, phase, gratType, contr)` is described as a res × res
# array with `contr` as the contrast of the grating, `ori` as its orientation and `phase` as its phase, for
# all types. `maskMatrix(matrix, ..., center)` puts the mask at `center`.
#
# What happens: `contr` has no effect on 'sqr' and 'sinXsin' (10 % is drawn as 100 %), `ori` and `phase` have
# none on 'sinXsin', and `phase` none on 'ramp'. The array is (res + 1) × (res + 1) for some pairs of size and
# cycles, since its coordinates are made by adding a rounded step. maskMatrix ignores `center`. No error and
# no warning.
#
# Seen:
#   contr=0.1: largest value of sin 0.10, sqr 1.00, sinXsin 1.00
#   makeGrating(100, cycles=23).shape = (101, 101), makeGrating(100, cycles=22).shape = (100, 100)
#   maskMatrix with center (0.5, 0): same as without
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile --no-deps psychopy-lib==2026.2.5
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 pillow==13.0.0 pyglet==1.5.27 openpyxl==3.1.5 packaging==26.4 \
    requests==2.34.2 json-tricks==3.17.3 pyyaml==6.0.4 freetype-py==2.5.1 python-bidi==0.6.12 \
    arabic-reshaper==3.1.0 i18next==0.0.3 pyserial==3.5 six==1.17.0 2>"$folder/messages" || { cat "$folder/messages"; exit 1; }
cd "$folder"
# PsychoPy keeps its settings in the home folder, and pyglet's hidden window would need a display.
export HOME="$folder" PYGLET_SHADOW_WINDOW=0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
from psychopy.visual.filters import makeGrating, maskMatrix

changed = []
largest = {kind: float(np.max(makeGrating(64, cycles=4, gratType=kind, contr=0.1))) for kind in ("sin", "sqr", "sinXsin")}
print("contr=0.1: largest value of", ", ".join(f"{kind} {value:.2f}" for kind, value in largest.items()))
if not np.allclose(list(largest.values()), [0.1, 1, 1], atol=0.01):
    changed.append(f"contrasts {largest}")
plaid = makeGrating(64, cycles=4, gratType="sinXsin")
if not np.array_equal(plaid, makeGrating(64, ori=45, phase=90, cycles=4, gratType="sinXsin")):
    changed.append("sinXsin follows ori or phase")
if not np.array_equal(makeGrating(64, gratType="ramp"), makeGrating(64, phase=90, gratType="ramp")):
    changed.append("ramp follows phase")
shapes = {cycles: makeGrating(100, cycles=cycles).shape for cycles in (23, 22)}
print(", ".join(f"makeGrating(100, cycles={cycles}).shape = {shape}" for cycles, shape in shapes.items()))
if shapes != {23: (101, 101), 22: (100, 100)}:
    changed.append(f"shapes {shapes}")
ones = np.ones((64, 64))
same = np.array_equal(maskMatrix(ones, center=(0.5, 0.0)), maskMatrix(ones))
print("maskMatrix with center (0.5, 0):", "same as without" if same else "another mask")
if not same:
    changed.append("maskMatrix follows center")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
