#!/bin/sh
# PsychoPy's Fourier helpers rectify: a picture in PsychoPy's own range (-1 to 1) comes back without its sign.
#
# Packages: psychopy-lib 2026.2.5, numpy 2.4.6.
#
# Expected: `visual.filters.imifft` is described as the inverse of `imfft`: imifft(imfft(X)) = X. The
# Butterworth functions are described as centred filters with a relative cutoff, made to be multiplied with
# imfft's result; a high-pass removes the mean, a low-pass leaves it.
#
# What happens: imifft returns the *magnitude* of the inverse transform, so that all negative values become
# positive. A grating from -1 to 1 has twice its frequency afterwards, and any band- or high-pass filtered
# texture, whose mean is 0 by construction, is rectified. Nothing warns. Besides, for even sizes the filters
# have their centre between four frequencies, not on the one where imfft puts the mean: a high-pass of cutoff
# 0.02 lets 3 % of the mean through at 64 px, and opposite frequencies get gains that differ by up to 0.32, so
# that filtered pictures are not real. Odd sizes are right.
#
# Seen:
#   imifft(imfft(grating)): largest difference to the grating 1.96, to its absolute value 0.00
#   strongest frequency: 4 before, 8 after
#   64 px: high-pass 0.02 at the mean 0.0303, low-pass 0.1: opposite frequencies differ by 0.3247
#   65 px: high-pass 0.02 at the mean 0.0000, low-pass 0.1: opposite frequencies differ by 0.0000
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
from psychopy.visual import filters

changed = []
grating = np.tile(np.sin(2 * np.pi * 4 * (np.arange(64) + 0.5) / 64), (64, 1))
back = filters.imifft(filters.imfft(grating))
to_itself, to_absolute = np.abs(back - grating).max(), np.abs(back - np.abs(grating)).max()
print(f"imifft(imfft(grating)): largest difference to the grating {to_itself:.2f}, "
      f"to its absolute value {to_absolute:.2f}")
peaks = [int(np.argmax(np.abs(np.fft.rfft(row - row.mean())))) for row in (grating[0], back[0])]
print(f"strongest frequency: {peaks[0]} before, {peaks[1]} after")
if to_absolute > 1e-9 or to_itself < 1.9 or peaks != [4, 8]:
    changed.append("imifft no longer returns magnitudes")

expected = {64: (0.0303, 0.3247), 65: (0.0, 0.0)}
for size in (64, 65):
    middle = size // 2
    mean = filters.butter2d_hp((size, size), 0.02)[middle, middle]
    gains = np.fft.ifftshift(filters.butter2d_lp((size, size), 0.1))
    opposite = np.roll(gains[::-1, ::-1], (1, 1), (0, 1))
    difference = np.abs(gains - opposite).max()
    print(f"{size} px: high-pass 0.02 at the mean {mean:.4f}, "
          f"low-pass 0.1: opposite frequencies differ by {difference:.4f}")
    if not np.allclose((mean, difference), expected[size], atol=1e-3):
        changed.append(f"filters of {size} px")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
