#!/bin/sh
# pyrtools' blur darkens: each level divides the picture by four.
#
# Packages: pyrtools 1.1.1, numpy 2.2.6, scipy 1.17.1.
#
# Expected: `blur(image, n_levels)` is described as a blur by filtering and downsampling, then upsampling and
# filtering, with a kernel that is scaled to an L1 norm of 1. A blur keeps the mean: a uniform grey stays as
# it is, as it does in `blurDn` of the same package and in a Gaussian blur.
#
# What happens: upsampling fills with zeros, and the kernel of sum 1 spreads a quarter of the pixels over all
# of them, without the factor of 4. The result is 1/4, 1/16, 1/64 as bright after 1, 2, 3 levels (with `upBlur`,
# whose kernel is scaled otherwise, 1/2, 1/4, 1/8). Low-pass controls made so have the wrong mean and contrast,
# and so has the high-pass image - blur(image); pictures shown with automatic scaling hide it.
#
# Seen (a uniform picture of 1, centre):
#   levels 1: blur 0.2500, blurDn 1.0000, upBlur 0.5000
#   levels 2: blur 0.0625, blurDn 1.0000, upBlur 0.2500
#   levels 3: blur 0.0156, blurDn 1.0000, upBlur 0.1250
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    pyrtools==1.1.1 numpy==2.2.6 scipy==1.17.1 matplotlib==3.11.2 requests==2.34.2 tqdm==4.70.1
cd "$folder"
export HOME="$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import sys

import numpy as np
import pyrtools

changed = []
for levels in (1, 2, 3):
    results = {
        "blur": pyrtools.blur(np.ones((64, 64)), levels),
        "blurDn": pyrtools.blurDn(np.ones((64, 64)), levels),
        "upBlur": pyrtools.upBlur(np.ones((16, 16)), levels),
    }
    centres = {name: float(a[a.shape[0] // 2, a.shape[1] // 2]) for name, a in results.items()}
    print(f"levels {levels}:", ", ".join(f"{name} {value:.4f}" for name, value in centres.items()))
    if not np.allclose(list(centres.values()), [0.25**levels, 1, 0.5**levels], atol=1e-6):
        changed.append(f"levels {levels}: {centres}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
