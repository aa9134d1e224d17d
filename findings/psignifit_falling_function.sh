#!/bin/sh
# psignifit 4.3: a *falling* forced-choice function is fitted between 0 and chance, not between chance and 1.
#
# Packages: psignifit 4.3, numpy 2.2.6, scipy 1.17.1.
#
# Expected: the "neg_" sigmoids are for data that fall with the stimulus level: proportion correct against
# noise, eccentricity, or the number of matched layers of a synthetic texture. By the documentation gamma is
# the guess rate, the lower asymptote (fixed at 1/n for nAFC), and lambda the lapse rate below 1: falling
# data go from 1 - lambda down to gamma (Schütt et al. 2016, equation 1, with 1 - F for F).
#
# What happens: the whole scaled function is turned over, so that it goes from 1 - gamma down to lambda. With
# yes/no data and gamma and lambda near 0 that is the same thing. With 2AFC it is capped at 0.5, where the data
# end: the fit cannot follow them. It reports a threshold outside the measured range, in the parameters
# and by `threshold(0.75)`, with no warning. For 3AFC (oddity tasks) the cap is 2/3. A way out: fit the rising
# function of the negated level.
#
# Seen (noise-free data of a normal ogive with its threshold at 0.5, levels 0 … 1):
#   yes/no falling: threshold 0.500, fitted at level 0: 1.000 (data 1.000)
#   2AFC   falling: threshold 1.076, fitted at level 0: 0.500 (data 1.000)
#   3AFC   falling: threshold 0.962, fitted at level 0: 0.666 (data 1.000)
#   2AFC   rising in -level: threshold -0.500, fitted at level 0: 1.000 (data 1.000)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    psignifit==4.3 numpy==2.2.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import sys

import numpy as np
import psignifit
from scipy.stats import norm

levels = np.linspace(0, 1, 9)
trials = 200
expected = {"yes/no": (0.5, 1.0), "2AFC": (1.076, 0.5), "3AFC": (0.962, 0.666), "rising": (-0.5, 1.0)}


def fit(kind, chance, sign, sigmoid):
    correct = np.round(trials * (chance + (1 - chance) * norm.cdf((0.5 - levels) / 0.15)))
    data = np.column_stack([sign * levels, correct, np.full(9, trials)])
    result = psignifit.psignifit(data, sigmoid=sigmoid, experiment_type=kind)
    half_way = chance + (1 - chance) / 2
    threshold = float(result.threshold(half_way, return_ci=False))
    assert np.isclose(threshold, result.parameter_estimate["threshold"], atol=0.01)
    return threshold, float(result.proportion_correct(np.array([0.0]))[0]), correct[0] / trials


changed = []
for label, kind, chance, sign, sigmoid in (
    ("yes/no falling", "yes/no", 0.0, 1, "neg_norm"),
    ("2AFC   falling", "2AFC", 0.5, 1, "neg_norm"),
    ("3AFC   falling", "3AFC", 1 / 3, 1, "neg_norm"),
    ("2AFC   rising in -level", "2AFC", 0.5, -1, "norm"),
):
    threshold, fitted, measured = fit(kind, chance, sign, sigmoid)
    print(f"{label}: threshold {threshold:.3f}, fitted at level 0: {fitted:.3f} (data {measured:.3f})")
    wanted = expected["rising" if sign < 0 else kind]
    if not np.allclose((threshold, fitted), wanted, atol=0.01):
        changed.append(f"{label} {threshold:.3f} {fitted:.3f}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
