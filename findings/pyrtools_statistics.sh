#!/bin/sh
# pyrtools' statistics: the entropy leaves out the brightest pixels, and comparing 8-bit pictures wraps round.
#
# Packages: pyrtools 1.1.1, numpy 2.2.6, scipy 1.17.1.
#
# Expected: `entropy` is described as the first-order sample entropy, by a histogram of 256 bins from the
# smallest to the largest value: 1 bit for two equally frequent grey levels, 2 for four, 8 for 256.
# `image_compare` is described to give the range of the difference and its signal-to-noise ratio.
#
# What happens: the bins are shifted by half of one, so that the largest value lies outside of the last and is
# dropped: entropies are those of the picture without its maximum, 0, log2(3) and log2(255). Textures whose
# whites are clipped lose most. image_compare of 8-bit arrays (what an image reader returns) subtracts with
# wrap-round: a difference of -1 counts as 255, and an SNR of 34.6 dB is given as -8.8 dB. Nothing warns.
#
# Seen:
#   2 grey levels: 0.000 bits (by definition 1)
#   4 grey levels: 1.585 bits (by definition 2)
#   256 grey levels: 7.994 bits (by definition 8)
#   difference of at most 1: SNR 34.55 dB as float64, -8.79 dB as uint8
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    pyrtools==1.1.1 numpy==2.2.6 scipy==1.17.1 matplotlib==3.11.2 requests==2.34.2 tqdm==4.70.1
cd "$folder"
export HOME="$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import contextlib
import io
import sys

import numpy as np
import pyrtools

changed = []
for levels, wanted in ((2, 0.0), (4, np.log2(3)), (256, np.log2(255))):
    picture = np.tile(np.arange(levels, dtype=float), (16, 16))
    seen = pyrtools.entropy(picture)
    print(f"{levels} grey levels: {abs(seen):.3f} bits (by definition {np.log2(levels):.0f})")
    if not np.isclose(seen, wanted, atol=1e-6):
        changed.append(f"{levels} levels: {seen}")

# A random number generator's stream may change between versions, a congruence doesn't.
counter = np.arange(4096).reshape(64, 64)
first = (50 + counter * 7919 % 151).astype(np.uint8)
second = (first + (counter * 31 % 3) - 1).astype(np.uint8)
ratios = []
for dtype in (float, np.uint8):
    with contextlib.redirect_stdout(io.StringIO()):
        ratios.append(float(pyrtools.image_compare(first.astype(dtype), second.astype(dtype))[-1]))
print(f"difference of at most 1: SNR {ratios[0]:.2f} dB as float64, {ratios[1]:.2f} dB as uint8")
if not (ratios[0] > 34 and ratios[1] < -8):
    changed.append(f"ratios {ratios}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
