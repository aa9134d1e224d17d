#!/bin/sh
# PsychoPy's sine texture holds its trough twice: a full-contrast grating is darker than its background.
#
# Packages: psychopy-lib 2026.2.5, numpy 2.4.6.
#
# Expected: a texture that is tiled to make a sinusoidal grating holds one whole period, so that its mean is 0
# (the background's grey) and the tiled pattern has one frequency only. `createLumPattern('sin', res)` makes
# the texture that GratingStim uses for tex='sin'; its documentation speaks of the pattern, and the one for
# GratingStim of res "texRes".
#
# What happens: the period is sampled with both of its ends, so that the first and the last texel are the same
# trough. Tiled, each cycle has one sample too many at its darkest: the mean is exactly -1/res of the full
# contrast (-0.8 % with the default of 128, -6 % with 16), and harmonics appear that the sine has not. In an
# adaptation or detection experiment the mean luminance changes with the grating. The triangle wave is alike.
#
# Seen (mean of the texture in units of contrast; amplitude of the harmonics 0, 1, 2, 3 when tiled):
#   sin 16: mean -0.06250   sin 128: mean -0.00781   sin 256: mean -0.00391   tri 128: mean -0.00763
#   128, tiled: 0.00781 1.00382 0.00532 0.00199
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
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
from psychopy.tools.arraytools import createLumPattern

changed = []
for pattern, size in (("sin", 16), ("sin", 128), ("sin", 256), ("tri", 128)):
    texture = createLumPattern(pattern, size)
    mean = float(texture.mean())
    print(f"{pattern} {size}: mean {mean:.5f}", end="   ")
    if not np.array_equal(texture[:, 0], texture[:, -1]):
        changed.append(f"{pattern} {size}: the first and last texels differ")
    if pattern == "sin" and abs(mean + 1 / size) > 1e-9:
        changed.append(f"{pattern} {size}: mean {mean}")
    if pattern == "tri" and not -0.008 < mean < -0.007:
        changed.append(f"{pattern} {size}: mean {mean}")
cycles = 8
row = np.tile(createLumPattern("sin", 128)[0], cycles)
amplitudes = np.abs(np.fft.rfft(row)) / len(row) * 2
amplitudes[0] /= 2
harmonics = amplitudes[[0, cycles, 2 * cycles, 3 * cycles]]
print("\n128, tiled:", *(f"{value:.5f}" for value in harmonics))
whole = np.tile(np.sin(np.arange(128) / 128 * 2 * np.pi - np.pi / 2), cycles)
assert abs(whole.mean()) < 1e-12 and np.abs(np.fft.rfft(whole))[2 * cycles] / len(whole) < 1e-12
if not np.allclose(harmonics, [0.00781, 1.00382, 0.00532, 0.00199], atol=1e-4):
    changed.append(f"harmonics {harmonics.tolist()}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
