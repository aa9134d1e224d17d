#!/bin/sh
# Animations: frames that repeat are dropped on writing, so that frame numbers no longer tell the time.
#
# Packages: imageio 2.38.1, Pillow 13.0.0, numpy 2.4.6.
#
# Expected: imageio.v3.imwrite of a stack (time, height, width) writes as many frames, and imread(index=None),
# which is described to read all images of a file, returns the same stack. A stimulus with a still phase, a
# blank or a 30 Hz pattern on a 60 Hz display has equal neighbours, and analyses look frames up by number.
#
# What happens: the Pillow plug-in's writers join equal neighbours into one frame of longer duration, for GIF
# and for animated PNG, without a warning: 10 frames come back as 4, and frame 3 is not what was shown at frame
# 3. For GIF the durations, whose unit is 10 ms, are summed up and then cut (50, 30, 50, 30 ms for 3, 2, 3, 2
# frames of 1/60 s): the movie is 160 ms long, not 166.7.
#
# Seen (levels 0 0 0 128 128 255 255 255 0 0 at 60 Hz):
#   gif  frames 4, levels 0 128 255 0, durations 50 30 50 30 ms, together 160.0 ms
#   png  frames 4, levels 0 128 255 0, durations 50 33 50 33 ms, together 166.7 ms
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 imageio==2.38.1 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import sys

import imageio.v3 as imageio
import numpy as np
from PIL import Image

levels = [0, 0, 0, 128, 128, 255, 255, 255, 0, 0]
stack = np.stack([np.full((32, 32), level, np.uint8) for level in levels])
changed = []
for kind, total in (("gif", 160.0), ("png", 166.7)):
    name = f"movie.{kind}"
    imageio.imwrite(name, stack, plugin="pillow", duration=1000 / 60)
    back = imageio.imread(name, index=None, plugin="pillow")
    seen = [int(frame.ravel()[0]) for frame in back]
    durations = []
    with Image.open(name) as picture:
        for frame in range(picture.n_frames):
            picture.seek(frame)
            picture.load()
            durations.append(picture.info["duration"])
    print(f"{kind}  frames {len(seen)}, levels", *seen, end=", durations ")
    print(*(f"{milliseconds:.0f}" for milliseconds in durations), f"ms, together {sum(durations):.1f} ms")
    if seen != [0, 128, 255, 0] or abs(sum(durations) - total) > 0.1:
        changed.append(kind)
if changed:
    sys.exit(f"CHANGED: {changed}")
print("As described.")
PY
