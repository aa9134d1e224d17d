"""The analysis of oddity data against observers whose answers are known."""

from __future__ import annotations

import math
import os
import shutil

import numpy as np
import pytest
from example_run import DISTANCES, make_run, oddity_list, read_csv, write_csv

if not os.environ.get("CI"):
    pytest.importorskip("statsmodels", reason="needs the extra analysis")
from experiments.oddity import analysis
from experiments.shared.observer import Psychometric, SimulatedObserver
from experiments.shared.session import open_session
from experiments.shared.trial_list import read_trial_list

INTERCEPT, SLOPE = -3.0, 6.0
MEASURED = {"frames": 100, "dropped_frames": 0, "frame_mean_s": 0.0167, "frame_max_s": 0.0167}


def simulate(rng, x, lapse):
    p = 1 / 3 + (2 / 3 - lapse) / (1 + np.exp(-(INTERCEPT + SLOPE * x)))
    return (rng.random(len(x)) < p).astype(float)


def test_confidence_intervals_cover_the_parameters():
    """95 % intervals hold the truth in 95 % of 100 data sets: 10 misses or fewer in 99 of 100 cases."""
    rng = np.random.default_rng(1)
    x = np.tile(np.linspace(0, 1.2, 7), 100)
    lapse = 0.04
    truth = {"intercept": INTERCEPT, "slope": SLOPE, "threshold": -INTERCEPT / SLOPE}
    misses = dict.fromkeys(truth, 0)
    for _ in range(100):
        fit = analysis.fit_psychometric(x, simulate(rng, x, lapse), lapse)
        assert fit["note"] == ""
        for name, value in truth.items():
            misses[name] += not fit[f"{name}_low"] <= value <= fit[f"{name}_high"]
    assert all(0 < missed <= 10 for missed in misses.values()), misses


@pytest.mark.parametrize(
    ("x", "correct"),
    [
        (np.arange(50.0), np.ones(50)),
        (np.array([0.05, 0.5, 1.2, 0.5]), np.array([1.0, 1, 0, 1])),  # p is 1 to the last bit
        (np.tile([0.05, 0.6], 15), np.tile([1.0, 1, 0, 0, 0, 0], 5)),  # at chance
        (np.repeat([0.05, 0.6], 15), np.repeat([0.0, 1], 15)),  # infinitely steep
    ],
)
def test_data_without_a_maximum_give_nan(x, correct):
    fit = analysis.fit_psychometric(x, correct)
    assert fit["note"]
    assert math.isnan(fit["slope"])
    assert math.isnan(fit["threshold_low"])


@pytest.mark.parametrize("dprime", [0.0, 0.8, 3.0])
def test_dprime_of_an_observer_who_chooses_the_most_distant_value(dprime):
    rng = np.random.default_rng(3)
    values = rng.normal([dprime, 0, 0], 1, (400_000, 3))
    spread = np.sort(values, axis=1)
    # The odd one is beyond the larger of the two gaps: the lowest or the highest value.
    lower, upper = spread[:, 1] - spread[:, 0], spread[:, 2] - spread[:, 1]
    chosen = np.where(lower > upper, spread[:, 0], spread[:, 2])
    accuracy = np.mean(chosen == values[:, 0])
    assert analysis.oddity_accuracy(dprime) == pytest.approx(accuracy, abs=0.004)
    assert analysis.dprime_oddity(analysis.oddity_accuracy(dprime)) == pytest.approx(dprime, abs=1e-4)
    assert math.isinf(analysis.dprime_oddity(1.0))


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """A run and a session of each of two participants, who miss every tenth trial."""
    tmp_path = tmp_path_factory.mktemp("sessions")
    run_folder = make_run(tmp_path / "results" / "example")
    trial_list = read_trial_list(oddity_list(run_folder, 300, 100), "oddity")
    for seed, participant in enumerate(["p01", "p02"]):
        observer = SimulatedObserver(
            seed, Psychometric(0.5, 6), {f"brick-{c}": d for c, d in DISTANCES.items()}
        )
        session = open_session(
            tmp_path / "data", trial_list, participant=participant, session=1, simulated=True, settings={}
        )
        for trial in trial_list.trials:
            key = observer.answer(trial)[0]
            answer = {"response": key, "correct": int(key == trial.correct_key), "rt_s": 0.5}
            session.save_trial({**(answer if trial.number % 10 else {}), **MEASURED, "shown_s": 0.2})
    return tmp_path


@pytest.fixture
def folder(sessions, tmp_path):
    return shutil.copytree(sessions, tmp_path / "copy")


def analyse(folder, *options):
    stimuli = folder / "results" / "example" / "stimuli.csv"
    arguments = [folder / "data" / "oddity", "--stimuli", stimuli, "--out", folder / "analysis", *options]
    return analysis.main([str(argument) for argument in arguments])


def test_tables_and_plot_of_simulated_sessions(folder, capsys):
    assert analyse(folder) == 0
    assert "middle" in capsys.readouterr().out
    responses = read_csv(folder / "analysis" / "responses.csv")
    assert len(responses) == 600
    assert {float(r["gram_relative_pool4"]) for r in responses} == set(DISTANCES.values())
    accuracy = {(r["participant"], r["condition"]): r for r in read_csv(folder / "analysis" / "accuracy.csv")}
    assert set(accuracy) == {(p, c) for p in ("p01", "p02", "all") for c in DISTANCES}
    for (participant, condition), row in accuracy.items():
        mine = [
            r for r in responses if r["condition"] == condition and participant in (r["participant"], "all")
        ]
        answers = [float(r["correct"]) for r in mine if r["correct"]]
        assert (int(row["trials"]), int(row["answered"])) == (len(mine), len(answers))
        p, n, z = sum(answers) / len(answers), len(answers), 1.959964
        centre, half = p + z**2 / 2 / n, z * math.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
        assert float(row["accuracy"]) == pytest.approx(p, abs=1e-4)
        assert float(row["accuracy_low"]) == pytest.approx((centre - half) / (1 + z**2 / n), abs=1e-4)
        assert float(row["accuracy_high"]) == pytest.approx((centre + half) / (1 + z**2 / n), abs=1e-4)
        assert float(row["dprime_low"]) <= float(row["dprime"]) <= float(row["dprime_high"])
    fits = {r["participant"]: r for r in read_csv(folder / "analysis" / "fit.csv")}
    assert set(fits) == {"p01", "p02", "all"}
    for fit in fits.values():
        assert float(fit["threshold_low"]) < 0.5 < float(fit["threshold_high"])
        assert float(fit["slope_low"]) < 6 < float(fit["slope_high"])
    assert (folder / "analysis" / "psychometric.png").stat().st_size > 1000


def test_data_of_different_sets_are_refused(folder, capsys):
    stimuli = folder / "results" / "example" / "stimuli.csv"
    assert analyse(folder, "--column", "gram_relative_pool5") == 2
    assert "There are: gram_relative_pool4, gram_relative_held_out." in capsys.readouterr().err
    rows = read_csv(stimuli)
    write_csv(stimuli, [row | {"png_sha256": "sha256:0a"} for row in rows])
    assert analyse(folder) == 2
    assert "is not the image that was shown" in capsys.readouterr().err
    write_csv(stimuli, [row for row in rows if row["stimulus_id"] != "brick-far"])
    assert analyse(folder) == 2
    assert "there is no brick-far." in capsys.readouterr().err
    write_csv(stimuli, rows)
    file = folder / "data" / "oddity" / "p02_1" / "trials.csv"
    write_csv(file, [row | {"simulated": "0"} for row in read_csv(file)])
    assert analyse(folder) == 2
    assert "there are simulated and real sessions." in capsys.readouterr().err


def test_repeated_trial_is_refused(folder, capsys):
    data = folder / "data" / "oddity"
    shutil.copytree(data / "p01_1", data / "copy of p01_1")
    assert analyse(folder) == 2
    printed = capsys.readouterr().err
    assert "Trial 1 of session 1 of the participant p01 is there twice: in " in printed
    assert f"{data / 'copy of p01_1' / 'trials.csv'} and {data / 'p01_1' / 'trials.csv'}." in printed


def test_trials_without_a_predictor_are_counted(folder, capsys):
    stimuli = folder / "results" / "example" / "stimuli.csv"
    rows = read_csv(stimuli)
    far = {"gram_relative_pool4": ""}
    write_csv(stimuli, [row | (far if row["stimulus_id"] == "brick-far" else {}) for row in rows])
    assert analyse(folder) == 0
    responses = read_csv(folder / "analysis" / "responses.csv")
    left_out = [row for row in responses if row["condition"] == "far" and row["correct"]]
    note = f"{len(left_out)} answered trials without a value of gram_relative_pool4 left out"
    fits = {row["participant"]: row for row in read_csv(folder / "analysis" / "fit.csv")}
    assert fits["all"]["note"] == note
    assert int(fits["all"]["trials"]) == sum(bool(row["correct"]) for row in responses) - len(left_out)
    assert f"all: {note}" in capsys.readouterr().out


def test_files_that_cannot_be_analysed_are_refused(folder, capsys):
    run_json = folder / "results" / "example" / "run.json"
    run_json.write_text('{"run": [1, 2]}\n', "utf-8")
    text = folder / "text"
    text.write_text("", "utf-8")
    for options, words in (
        (["--stimuli", run_json], "is no table of stimuli.\nName stimuli.csv of the run."),
        (["--stimuli", folder], "stimuli.csv: there is no such file."),
        (["--column", "condition"], "condition is not a column of numbers.\nThere are: gram_relative_pool4"),
        (["--out", text], "the folder cannot be made"),
    ):
        assert analyse(folder, *options) == 2
        assert words in capsys.readouterr().err
    (folder / "data" / "oddity" / "p02_1" / "trials.csv").write_text("a,b\n1,2\n", "utf-8")
    assert analyse(folder) == 2
    assert "there is no column 'participant'" in capsys.readouterr().err
