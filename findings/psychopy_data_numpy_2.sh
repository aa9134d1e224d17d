#!/bin/sh
# PsychoPy's data files with NumPy 2: every number becomes the text "np.float64(…)".
#
# Packages: psychopy-lib 2026.2.5, numpy 2.4.6, pandas 3.1.1.
#
# Expected: `saveAsText` of a staircase writes "a text file with the data": intensities that any program can
# read as numbers. Raw columns of TrialHandler.saveAsText likewise.
#
# What happens: the lists are written as Python prints them, and since NumPy 2 (NEP 51) a NumPy number in a
# list prints with its type. A QuestHandler computes with NumPy, so that all its intensities but the first
# (the start value) are affected, as are a StairHandler whose step sizes are a NumPy array, the raw columns of
# a TrialHandler, and lists (such as mouse positions) in an ExperimentHandler's CSV file. pandas, R and MATLAB
# read texts, and numeric conversion gives missing values. PsychoPy allows any NumPy; no warning.
#
# Seen:
#   QuestHandler     intensities: 0.5 np.float64(0.6742382824467384) np.float64(0.6468149787924475)
#   of 3 intensities pandas reads as numbers: 1
#   TrialHandler     rt_raw: np.float64(0.25)
#   ExperimentHandler "[np.float64(1.5), np.float64(2.5)]"
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
from pathlib import Path

import numpy as np
import pandas as pd
from psychopy import data

quest = data.QuestHandler(0.5, 0.2, pThreshold=0.82, gamma=0.5, nTrials=3, minVal=0, maxVal=1)
for _, answer in zip(quest, (0, 1, 1)):
    quest.addResponse(answer)
quest.saveAsText("quest.tsv", fileCollisionMethod="overwrite")
text = Path("quest.tsv").read_text(encoding="utf-8-sig")
line = next(line for line in text.splitlines() if line.startswith("intensities="))
intensities = [part.strip() for part in line.split("\t")[1:]]
print("QuestHandler     intensities:", *intensities)
numbers = int(pd.to_numeric(pd.Series(intensities), errors="coerce").notna().sum())
print("of", len(intensities), "intensities pandas reads as numbers:", numbers)

trials = data.TrialHandler([{"alpha": 0.5}], nReps=1, method="sequential")
for _ in trials:
    trials.addData("rt", np.float64(0.25))
trials.saveAsText("trials.tsv", stimOut=["alpha"], fileCollisionMethod="overwrite")
raw = Path("trials.tsv").read_text(encoding="utf-8-sig")
print("TrialHandler     rt_raw:", "np.float64(0.25)" if "np.float64(0.25)" in raw else "a number")

experiment = data.ExperimentHandler(dataFileName="experiment", savePickle=False, saveWideText=False)
experiment.addData("mouse.x", list(np.array([1.5, 2.5])))
experiment.nextEntry()
experiment.saveAsWideText("experiment.csv", fileCollisionMethod="overwrite")
wide = Path("experiment.csv").read_text(encoding="utf-8-sig")
cell = '"[np.float64(1.5), np.float64(2.5)]"'
print("ExperimentHandler", cell if cell in wide else "numbers")

if (len(intensities), numbers) != (3, 1) or "np.float64(0.25)" not in raw or cell not in wide:
    sys.exit("CHANGED: some numbers are written as numbers now")
print("As described.")
PY
