"""A simulated observer, which sees a difference the better the larger it was measured."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.shared.errors import ExperimentError
from experiments.shared.trial_list import Trial


@dataclass(frozen=True)
class Psychometric:
    """p(correct) = chance + (1 - chance - lapse) / (1 + exp(-slope (x - threshold))).

    Attributes
    ----------
    threshold
        Value of x half-way between chance and 1 - lapse.
    slope
        Steepness, per unit of x.
    lapse
        Share of trials answered wrongly however large x is.
    """

    threshold: float
    slope: float
    lapse: float = 0.0

    def correct(self, x: float, chance: float) -> float:
        """Return the probability of a correct answer."""
        # tanh, because exp overflows far below the threshold.
        logistic = (1 + math.tanh(self.slope * (x - self.threshold) / 2)) / 2
        return chance + (1 - chance - self.lapse) * logistic


@dataclass(frozen=True)
class SimulatedObserver:
    """Answers every trial; the same seed and trial give the same answer, also after an interruption.

    Attributes
    ----------
    seed
        What the answers depend on, beside the trial's number.
    psychometric
        The function from `values` to the probability of a correct answer.
    values
        For each stimulus_id the measured difference; None: the same for all, half-way up the function.
    """

    seed: int
    psychometric: Psychometric
    values: Mapping[str, float] | None = None

    def answer(self, trial: Trial) -> tuple[str, float]:
        """Return the key, and when it is pressed as a share of the response time."""
        rng = random.Random(f"{self.seed} {trial.number}")
        x = self.psychometric.threshold if self.values is None else self.values[trial.stimulus_id]
        sees = rng.random() < self.psychometric.correct(x, 1 / len(trial.keys))
        wrong = rng.choice([key for key in trial.keys if key != trial.correct_key])
        return (trial.correct_key if sees else wrong), rng.random()


def stimulus_values(stimuli: Path, column: str, trials: tuple[Trial, ...]) -> dict[str, float]:
    """Return a column of stimuli.csv for the stimuli that are judged.

    Raises
    ------
    ExperimentError
        If the table, the column, or a value of a stimulus in the list is missing.
    """
    try:
        with stimuli.open(encoding="utf-8-sig", newline="") as file:
            rows = {row["stimulus_id"]: row for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise ExperimentError(
            f"{stimuli}: cannot be read as a run's table of stimuli: {error}",
            "The images of the trial list must be in the folder stimuli of a run.",
        ) from error
    columns = next(iter(rows.values()), {})
    if column not in columns:
        raise ExperimentError(
            f"{stimuli}: there is no column {column!r}.",
            f"Columns of Gram distances: {', '.join(c for c in columns if c.startswith('gram_relative'))}.",
        )
    wanted = sorted({trial.stimulus_id for trial in trials})
    values = {name: _number(rows.get(name, {}).get(column)) for name in wanted}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ExperimentError(
            f"{stimuli}: {column} has no value for {missing[0]}"
            + (f" and {len(missing) - 1} more stimuli." if len(missing) > 1 else "."),
            "Choose a column that has a value for every stimulus, such as one of gram_relative_LAYER.",
        )
    return {name: value for name, value in values.items() if value is not None}


def _number(cell: str | None) -> float | None:
    try:
        value = float(cell or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
