#!/bin/sh
# PsychoPy's fitted psychometric functions: the threshold changes when *another* function is fitted.
#
# Packages: psychopy-lib 2026.2.5, numpy 2.4.6, scipy 1.17.1.
#
# Expected: `fit.inverse(0.75)` of a FitWeibull, FitLogistic or FitCumNormal depends on its own data and its
# own `expectedMin` (chance level): the documentation gives the inverse with `chance` as a constant of the fit.
#
# What happens: the chance level is a global of the module, which every fit and every `eval` sets and
# `inverse` reads. After a yes/no fit (expectedMin 0), the thresholds of a two-alternative fit (expectedMin
# 0.5) come from chance 0, 41 % too high here; after any `eval` of the first they are right again. In the
# other direction they can be nan. Loops that fit all observers first and take thresholds afterwards are hit;
# nothing warns.
#
# Seen:
#   2AFC fit alone                   threshold at 75 %: 0.1665 (formula: 0.1665)
#   after a yes/no fit of other data threshold at 75 %: 0.2355
#   after eval() of the 2AFC fit     threshold at 75 %: 0.1665
#   yes/no fit, at 30 %: 0.2389 (formula: 0.2389), after the 2AFC fit's eval(): nan
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
import math
import sys

import numpy as np
from psychopy.data import FitWeibull

contrast = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
yes_no = 1 - np.exp(-((contrast / 0.4) ** 2))
two_choices = 0.5 + 0.5 * (1 - np.exp(-((contrast / 0.2) ** 2)))

first = FitWeibull(contrast, two_choices, expectedMin=0.5, guess=[0.3, 1])
alone = first.inverse(0.75)
second = FitWeibull(contrast, yes_no, expectedMin=0.0, guess=[0.3, 1])
after_other_fit = first.inverse(0.75)
own = second.inverse(0.3)
first.eval(contrast)
after_eval = first.inverse(0.75)
other = second.inverse(0.3)

formula = 0.2 * math.sqrt(-math.log((1 - 0.75) / (1 - 0.5)))
formula_yes_no = 0.4 * math.sqrt(-math.log(1 - 0.3))
print(f"2AFC fit alone                   threshold at 75 %: {alone:.4f} (formula: {formula:.4f})")
print(f"after a yes/no fit of other data threshold at 75 %: {after_other_fit:.4f}")
print(f"after eval() of the 2AFC fit     threshold at 75 %: {after_eval:.4f}")
print(f"yes/no fit, at 30 %: {own:.4f} (formula: {formula_yes_no:.4f}), after the 2AFC fit's eval(): {other:.4f}")
if not (np.isclose(alone, formula, rtol=1e-3) and np.isclose(after_eval, formula, rtol=1e-3)):
    sys.exit("CHANGED: the fit itself is another one")
if not (np.isclose(after_other_fit, 0.2 * math.sqrt(-math.log(0.25)), rtol=1e-3) and np.isnan(other)):
    sys.exit("CHANGED: thresholds no longer depend on the last fit")
print("As described.")
PY
