"""Draw patches through the display of the experiments, and save the back buffer before the flip.

    python readback.py MONITOR.yaml PATCHES.json OUT.npy

PATCHES: a list of {"file", "x", "y", "side", "centre_px", "aperture", "ramp_px"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from experiments.shared.aperture import aperture, windowed
from experiments.shared.display import Display
from experiments.shared.monitor import load_monitor
from experiments.shared.trial_list import Patch

monitor, patches, out = (Path(name) for name in sys.argv[1:])
display = Display(load_monitor(monitor), 128, windowed=True)
images = []
for wanted in json.loads(patches.read_text("utf-8")):
    patch = Patch("", Path(wanted["file"]), wanted["x"], wanted["y"], wanted["side"], "")
    weights = aperture(patch.side, wanted["aperture"], wanted["ramp_px"])
    images.append(display.image(windowed(patch, weights, 128), tuple(wanted["centre_px"])))
display.screenshots = {}
display.begin_trial()
display.show("presentation", images, 2)
np.save(out, display.screenshots["presentation"])
display.close()
