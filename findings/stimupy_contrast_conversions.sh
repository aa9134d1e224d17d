#!/bin/sh
# stimupy's contrast conversions: the mean luminance that is "not changed" is changed, and RMS is not relative.
#
# Packages: stimupy 1.2.0, numpy 2.2.6.
#
# Expected, from the documentation of stimupy.utils.contrast_conversions:
#   adapt_michelson_contrast(img, c, mean_luminance=None): the mean luminance is the desired one, or is kept;
#   adapt_rms_contrast(img, c): c is the standard deviation divided by the mean intensity.
#
# What happens: the Michelson function puts the *middle between minimum and maximum* at the mean luminance.
# That is the same for a grating and another thing for a natural texture, whose histogram is skewed: the
# texture here, of mean 0.250, has mean 0.150 afterwards, and 0.300 if a mean of 0.500 is asked for. Stimuli
# "matched in mean luminance" differ by a factor. The RMS function sets the standard deviation itself: asked
# for 0.2 at a mean of 0.25 it gives a contrast of 0.8. (adapt_normalized_rms_contrast does divide, though its
# documentation has the same words.) Nothing warns.
#
# Seen:
#   Michelson 0.8, mean 0.250 kept:     contrast 0.800, mean 0.150
#   Michelson 0.8, mean 0.500 wanted:   contrast 0.800, mean 0.300
#   RMS 0.2, mean 0.250 kept:           SD/mean  0.800, mean 0.250
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    stimupy==1.2.0 numpy==2.2.6 scipy==1.17.1 pandas==3.1.1 matplotlib==3.11.2 pillow==13.0.0
cd "$folder"
export HOME="$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
from stimupy.utils.contrast_conversions import adapt_michelson_contrast, adapt_rms_contrast

# Three dark pixels to a bright one: mean 0.25, as skewed as gravel in the sun.
texture = np.tile([[0.0, 0.0], [0.0, 1.0]], (32, 32))
assert texture.mean() == 0.25


def michelson(image):
    return (image.max() - image.min()) / (image.max() + image.min())


kept = adapt_michelson_contrast(texture, 0.8)
wanted = adapt_michelson_contrast(texture, 0.8, mean_luminance=0.5)
rms = adapt_rms_contrast(texture, 0.2)
print(f"Michelson 0.8, mean 0.250 kept:     contrast {michelson(kept):.3f}, mean {kept.mean():.3f}")
print(f"Michelson 0.8, mean 0.500 wanted:   contrast {michelson(wanted):.3f}, mean {wanted.mean():.3f}")
print(f"RMS 0.2, mean 0.250 kept:           SD/mean  {rms.std() / rms.mean():.3f}, mean {rms.mean():.3f}")
grating = 0.5 + 0.5 * np.tile(np.sin(2 * np.pi * (np.arange(64) + 0.5) / 16), (64, 1))
assert np.isclose(adapt_michelson_contrast(grating, 0.8).mean(), 0.5)
seen = [kept.mean(), wanted.mean(), rms.std() / rms.mean()]
if not np.allclose(seen, [0.15, 0.3, 0.8], atol=1e-6):
    sys.exit(f"CHANGED: {seen}")
print("As described.")
PY
