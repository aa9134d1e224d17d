"""Analysis of oddity data: accuracy by condition, d′, and a psychometric function of Gram distance.

    python experiments/oddity/analysis.py data/oddity --stimuli results/NAME/stimuli.csv --out analysis

Writes to the folder --out: responses.csv (every trial, with all columns of its stimulus), accuracy.csv,
fit.csv and psychometric.png. It needs pandas, statsmodels and matplotlib, and not PsychoPy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from scipy.integrate import quad
    from scipy.optimize import brentq, minimize
    from scipy.special import expit, ndtr
    from statsmodels.stats.proportion import proportion_confint
except ModuleNotFoundError as error:
    print(
        f"The analysis needs {error.name}, which is not installed for this Python, {sys.executable}.\n"
        "Install the extra: pip install '.[analysis]', or pip install pandas statsmodels matplotlib.",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if not __package__:  # a script runs from any folder, also if the one with all experiments has another name
    sys.modules["experiments"] = ModuleType("experiments")
    sys.modules["experiments"].__path__ = [str(Path(__file__).resolve().parents[1])]

from experiments.shared.errors import ExperimentError

CHANCE = 1 / 3
Z95 = 1.959964
"""Half the width of a 95 % Wald interval, in standard errors."""
MOST = 50.0
"""Bound of the parameters in the search, for a predictor of mean 0 and SD 1."""
PLACES = ("left", "right", "bottom")
NEEDED = (
    "participant",
    "session",
    "simulated",
    "design",
    "trial_number",
    "stimulus_id",
    "condition",
    "correct",
)


def accuracy_at(eta: NDArray[np.float64], lapse: float) -> NDArray[np.float64]:
    """Return p(correct) = 1/3 + (2/3 - lapse) / (1 + exp(-eta))."""
    return CHANCE + (1 - CHANCE - lapse) * expit(eta)


def oddity_accuracy(dprime: float) -> float:
    """Return the proportion correct of an ideal observer in three-alternative oddity.

    The observer has three values of one normal variable and takes the one that is furthest from the other two
    (Ennis, 1993, Journal of Sensory Studies 8:353, the triangular method):
    2 ∫_0^∞ [Φ(-z√3 + d′√(2/3)) + Φ(-z√3 - d′√(2/3))] φ(z) dz.
    """
    shift = dprime * np.sqrt(2 / 3)

    def integrand(z: float) -> float:
        root = -z * np.sqrt(3)
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        return float((ndtr(root + shift) + ndtr(root - shift)) * density)

    return 2 * float(quad(integrand, 0, 10)[0])


def dprime_oddity(accuracy: float) -> float:
    """Return d′ of a proportion correct: 0 at chance and below, infinite at 1."""
    if accuracy <= CHANCE:
        return 0.0
    if accuracy >= oddity_accuracy(20):
        return np.inf
    return float(brentq(lambda d: oddity_accuracy(d) - accuracy, 0, 20))


def read_responses(data: Path, stimuli: Path) -> pd.DataFrame:
    """Return the trials of all sessions below a folder, each with the columns of its stimulus.

    Columns of stimuli.csv that a trial has too are those of the trial.

    Raises
    ------
    ExperimentError
        If there are no sessions, a trial is there twice, simulated and real ones are mixed, or the table of
        stimuli is not of the images that were shown.
    """
    files = sorted(data.rglob("trials.csv"))
    if not files:
        raise ExperimentError(f"{data}: there are no sessions below it.", "Name the folder of the data.")
    trials = pd.concat([_session(file) for file in files], ignore_index=True)
    _check_once(trials)
    trials = trials.drop(columns="_file")
    if trials["simulated"].nunique() > 1:
        raise ExperimentError(f"{data}: there are simulated and real sessions.", "Move one kind elsewhere.")
    if set(trials["design"]) != {"oddity"}:
        raise ExperimentError(f"{data}: there are sessions of other designs.", "Name the folder data/oddity.")
    table = _stimuli(stimuli)
    unknown = sorted(set(trials["stimulus_id"]) - set(table.index))
    if unknown:
        raise ExperimentError(
            f"{stimuli}: there is no {unknown[0]}.", "Name the table of the run that was shown."
        )
    if "png_sha256" in table:
        for place in PLACES:
            shown = trials[f"{place}_sha256"].str.removeprefix("sha256:")
            now = trials[f"{place}_id"].map(table["png_sha256"]).str.removeprefix("sha256:")
            for changed in trials.loc[shown != now, f"{place}_id"]:
                raise ExperimentError(
                    f"{stimuli}: {changed} is not the image that was shown (other SHA-256).",
                    "Use the table as it was when the data were taken.",
                )
    new = table.columns.difference(trials.columns, sort=False)
    return trials.join(table[new], on="stimulus_id")


def _session(file: Path) -> pd.DataFrame:
    """Return the trials of a session, with the file that they are from."""
    try:
        trials = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{file}: cannot be read: {error}", "Move it out of the data.") from error
    missing = [name for name in NEEDED if name not in trials]
    if missing:
        raise ExperimentError(
            f"{file}: there is no column {missing[0]!r}.", "Name a folder with sessions of this experiment."
        )
    # Read as it is written: by itself pandas makes a missing value of NA and 7 of 007.
    as_written = pd.read_csv(file, usecols=["participant"], dtype=str, keep_default_na=False)
    if "all" in set(as_written["participant"]):
        raise ExperimentError(f"{file}: the participant is called all.", "Give the participant another name.")
    return trials.assign(participant=as_written["participant"], _file=str(file))


def _check_once(trials: pd.DataFrame) -> None:
    """Raise if a trial of a session is there more than once."""
    names = ["participant", "session", "trial_number"]
    again = trials[trials.duplicated(names)]
    if again.empty:
        return
    participant, session, trial = again.iloc[0][names]
    same = (trials[names] == again.iloc[0][names]).all(axis=1)
    files = " and ".join(dict.fromkeys(trials.loc[same, "_file"]))
    raise ExperimentError(
        f"Trial {trial} of session {session} of the participant {participant} is there twice: in {files}.",
        "Move the copy out of the data.",
    )


def _stimuli(path: Path) -> pd.DataFrame:
    """Return the table of a run's stimuli by stimulus_id; `path` may be the run's folder."""
    path = path / "stimuli.csv" if path.is_dir() else path
    if not path.exists():
        raise ExperimentError(f"{path}: there is no such file.", "Name stimuli.csv of the run.")
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path}: cannot be read: {error}", "Name stimuli.csv of the run.") from error
    if "stimulus_id" not in table:
        raise ExperimentError(f"{path}: is no table of stimuli.", "Name stimuli.csv of the run.")
    return table.set_index("stimulus_id")


def _checked_column(responses: pd.DataFrame, column: str, stimuli: Path) -> None:
    """Raise unless the predictor is there and has numbers."""
    numbers = [name for name in map(str, responses) if name.startswith("gram_relative")]
    known = f"There are: {', '.join(numbers)}."
    if column not in responses:
        raise ExperimentError(f"{stimuli}: there is no {column!r}.", known)
    if not pd.api.types.is_numeric_dtype(responses[column]):
        raise ExperimentError(f"{stimuli}: {column} is not a column of numbers.", known)


def accuracy_table(responses: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return accuracy by condition, for each participant and for all, with 95 % Wilson intervals and d′."""
    rows = []
    for (participant, condition), group in _with_all(responses).groupby(
        ["participant", "condition"], sort=False
    ):
        answered = group.dropna(subset=["correct"])
        n, correct = len(answered), int(answered["correct"].sum())
        low, high = proportion_confint(correct, n, method="wilson") if n else (np.nan, np.nan)
        accuracy = correct / n if n else np.nan
        rows.append(
            {
                "participant": participant,
                "condition": condition,
                "trials": len(group),
                "answered": n,
                "correct": correct,
                "accuracy": accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
                "dprime": dprime_oddity(accuracy) if n else np.nan,
                "dprime_low": dprime_oddity(low) if n else np.nan,
                "dprime_high": dprime_oddity(high) if n else np.nan,
                column: group[column].mean(),
                "rt_median_s": answered["rt_s"].median(),
                "trials_with_dropped_frames": int((group["dropped_frames"] > 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def fit_psychometric(
    x: NDArray[np.float64], correct: NDArray[np.float64], lapse: float = 0.0
) -> dict[str, Any]:
    """Fit p(correct) = 1/3 + (2/3 - lapse) / (1 + exp(-(intercept + slope x))) by maximum likelihood.

    Parameters
    ----------
    x
        Predictor of each trial.
    correct
        0 or 1 of each trial.
    lapse
        Fixed share of lapses.

    Returns
    -------
    dict
        intercept, slope and threshold = -intercept / slope, each with its 95 % Wald interval (the threshold's
        by the delta method, and empty where the slope's holds 0), and `note`: empty, or why there is no fit.
        Standard errors are from the expected Fisher information.
    """
    names = ("intercept", "slope", "threshold")
    empty = {f"{name}{end}": np.nan for name in names for end in ("", "_low", "_high")}
    if len(np.unique(x)) < 2:
        return {"trials": len(x), **empty, "note": "fewer than two values of the predictor"}
    # With a predictor of mean 0 and SD 1 the search begins from the same places whatever its unit.
    centre, spread = x.mean(), x.std()
    design = np.column_stack([np.ones(len(x)), (x - centre) / spread])

    def cost(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the negative log-likelihood and its gradient."""
        p = np.clip(accuracy_at(design @ parameters, lapse), 1e-12, 1 - 1e-12)
        by_p = correct / p - (1 - correct) / (1 - p)
        slope_of_p = (1 - CHANCE - lapse) * expit(design @ parameters) * expit(-(design @ parameters))
        likelihood = correct * np.log(p) + (1 - correct) * np.log(1 - p)
        return -float(likelihood.sum()), -(by_p * slope_of_p) @ design

    # Above a chance level the likelihood may have several maxima: the best of several starts counts.
    searches = [
        minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(-MOST, MOST)] * 2)
        for start in ([0, 1], [0, -1], [-2, 3], [2, 3])
    ]
    best = min(searches, key=lambda search: float(search.fun)).x
    p = np.clip(accuracy_at(design @ best, lapse), 1e-12, 1 - 1e-12)
    slope_of_p = (1 - CHANCE - lapse) * expit(design @ best) * expit(-(design @ best))
    information = (design.T * (slope_of_p**2 / (p * (1 - p)))) @ design
    # Where the likelihood rises for ever, the search ends at a bound or on a plain that tells nothing.
    if np.abs(best).max() > 0.99 * MOST or np.linalg.eigvalsh(information)[0] < 0.01:
        return {"trials": len(x), **empty, "note": "no maximum: answers too good or too bad or too few"}
    back = np.array([[1, -centre / spread], [0, 1 / spread]])
    intercept, slope = back @ best
    covariance = back @ np.linalg.inv(information) @ back.T
    threshold = -intercept / slope
    gradient = np.array([-1 / slope, intercept / slope**2])
    found: dict[str, Any] = {"trials": len(x)}
    variances = (*np.diag(covariance), gradient @ covariance @ gradient)
    for name, value, variance in zip(names, (intercept, slope, threshold), variances, strict=True):
        half = Z95 * np.sqrt(variance)
        found |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    if found["slope_low"] <= 0 <= found["slope_high"]:
        found |= {"threshold_low": np.nan, "threshold_high": np.nan}
    return {**found, "note": ""}


def fit_table(responses: pd.DataFrame, column: str, lapse: float) -> pd.DataFrame:
    """Return the fit for each participant and for all.

    Trials without an answer are left out, and so are answers to stimuli without a value of the predictor,
    whose number is in `note`.
    """
    rows = []
    for participant, group in _with_all(responses).groupby("participant", sort=False):
        answered = group.dropna(subset=["correct"])
        usable = answered.dropna(subset=[column])
        fit = fit_psychometric(usable[column].to_numpy(float), usable["correct"].to_numpy(float), lapse)
        notes = [without_predictor(len(answered) - len(usable), column), fit["note"]]
        row = {"participant": participant, "predictor": column, "lapse": lapse, **fit}
        rows.append(row | {"note": "; ".join(note for note in notes if note)})
    return pd.DataFrame(rows)


def without_predictor(count: int, column: str) -> str:
    """Return what is said of trials that the fit leaves out, nothing if there are none."""
    return f"{count} answered trials without a value of {column} left out" if count else ""


def plot(responses: pd.DataFrame, fits: pd.DataFrame, column: str, path: Path) -> None:
    """Draw accuracy by condition and source with Wilson intervals, and the fitted function, of all together.

    Sources have points of their own: their distances may differ more than those of the conditions, and the
    function of a mean is not the mean of the function.
    """
    answered = responses.dropna(subset=["correct", column])
    if answered.empty:
        raise ExperimentError(f"No trial has an answer and a value of {column}.", "Choose another --column.")
    figure = Figure(figsize=(5.2, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for number, (condition, group) in enumerate(answered.groupby("condition", sort=False)):
        points = group.groupby("source").agg(x=(column, "mean"), n=("correct", "size"), k=("correct", "sum"))
        accuracy = points["k"] / points["n"]
        low, high = proportion_confint(points["k"], points["n"], method="wilson")
        bars = np.abs([accuracy - low, high - accuracy])
        axes.errorbar(points["x"], accuracy, yerr=bars, fmt="o", color=f"C{number}", label=condition)
    fit = fits[fits["participant"] == "all"].iloc[0]
    if np.isfinite(fit["slope"]):
        x = np.linspace(answered[column].min(), answered[column].max(), 300)
        axes.plot(x, accuracy_at(fit["intercept"] + fit["slope"] * x, fit["lapse"]), color="0.4", zorder=1)
    axes.axhline(CHANCE, color="0.7", linestyle=":", zorder=0)
    axes.set(xlabel=column, ylabel="proportion correct", ylim=(0, 1.02))
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> int:
    """Analyse the data that the command line names; return the exit code: 0 done, 2 something is wrong."""
    p = argparse.ArgumentParser(description="Analysis of oddity data.", allow_abbrev=False)
    p.add_argument("data", type=Path, help="folder of the sessions, such as data/oddity")
    p.add_argument("--stimuli", type=Path, required=True, help="stimuli.csv of the run, or its folder")
    p.add_argument("--column", default="gram_relative_pool4", help="predictor (default gram_relative_pool4)")
    p.add_argument("--lapse", type=float, default=0.0, help="fixed share of lapses, 0 to 0.5 (default 0)")
    p.add_argument(
        "--out", type=Path, default=Path("analysis"), help="folder for the results (default analysis)"
    )
    options = p.parse_args(arguments)
    try:
        if not 0 <= options.lapse <= 0.5:
            raise ExperimentError(f"--lapse {options.lapse:g} is not from 0 to 0.5.", "Use a small share.")
        responses = read_responses(options.data, options.stimuli)
        _checked_column(responses, options.column, options.stimuli)
        accuracy = accuracy_table(responses, options.column)
        fits = fit_table(responses, options.column, options.lapse)
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"--out {options.out}: the folder cannot be made: {error.strerror}."
            raise ExperimentError(message, "Choose another folder.") from error
        responses.to_csv(options.out / "responses.csv", index=False)
        accuracy.to_csv(options.out / "accuracy.csv", index=False, float_format="%.4f")
        fits.to_csv(options.out / "fit.csv", index=False, float_format="%.4f")
        plot(responses, fits, options.column, options.out / "psychometric.png")
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 2
    everyone = accuracy[accuracy["participant"] == "all"]
    columns = ["condition", "trials", "answered", "accuracy", "accuracy_low", "accuracy_high", "dprime"]
    print(everyone[columns].round(3).to_string(index=False))
    for fit in fits[fits["note"] != ""].itertuples():
        print(f"{fit.participant}: {fit.note}")
    return 0


def _with_all(responses: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of each participant, and all of them once more as the participant "all"."""
    return pd.concat([responses, responses.assign(participant="all")], ignore_index=True)


if __name__ == "__main__":
    sys.exit(main())
