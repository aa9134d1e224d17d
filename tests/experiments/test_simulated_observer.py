from __future__ import annotations

import math

import pytest
from example_run import DISTANCES, make_run, oddity_list

from experiments.shared.errors import ExperimentError
from experiments.shared.observer import Psychometric, SimulatedObserver, stimulus_values
from experiments.shared.trial_list import read_trial_list


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("observer") / "results" / "example")


@pytest.fixture(scope="module")
def trials(run_folder):
    return read_trial_list(oddity_list(run_folder, 3000, 100), "oddity").trials


def test_share_of_right_answers_follows_the_function(run_folder, trials):
    function = Psychometric(0.5, 4, 0.05)
    values = stimulus_values(run_folder / "stimuli.csv", "gram_relative_pool4", trials)
    observer = SimulatedObserver(5, function, values)
    for condition, distance in DISTANCES.items():
        chosen = [trial for trial in trials if trial.row["condition"] == condition]
        answers = [observer.answer(trial)[0] for trial in chosen]
        right = sum(key == trial.correct_key for key, trial in zip(answers, chosen, strict=True))
        expected = function.correct(distance, 1 / 3)
        assert abs(right / 1000 - expected) < 4 * math.sqrt(expected * (1 - expected) / 1000)
        wrong = [k for k, t in zip(answers, chosen, strict=True) if k != t.correct_key]
        assert set(wrong) == {"left", "right", "down"}


def test_answer_depends_only_on_seed_and_trial(trials):
    observer = SimulatedObserver(1, Psychometric(0.5, 4))
    forwards = [observer.answer(trial) for trial in trials[:50]]
    assert forwards == [observer.answer(trial) for trial in reversed(trials[:50])][::-1]
    assert forwards != [SimulatedObserver(2, Psychometric(0.5, 4)).answer(trial) for trial in trials[:50]]
    assert all(0 <= share < 1 for _, share in forwards)


def test_column_without_values_is_refused(run_folder, trials):
    stimuli = run_folder / "stimuli.csv"
    assert set(stimulus_values(stimuli, "gram_relative_held_out", trials).values()) == set(DISTANCES.values())
    with pytest.raises(ExperimentError, match="there is no column 'gram'"):
        stimulus_values(stimuli, "gram", trials)
    with pytest.raises(ExperimentError, match="condition has no value for brick-far and 2 more stimuli"):
        stimulus_values(stimuli, "condition", trials)
    with pytest.raises(ExperimentError, match="cannot be read"):
        stimulus_values(run_folder / "none.csv", "gram", trials)
