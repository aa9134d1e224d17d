"""Two intervals: two images one after the other at fixation.

The task of the trial list is one of

- which_is_original: one of the two is a photograph; left: the first, right: the second.
- same_different: the two are of the same kind or not; s: same, d: different.

Durations, breaks, patches and the order of trials come from the trial list.

    python experiments/two_interval/two_interval.py LIST.csv --participant p01 --monitor lab.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

if not __package__:  # a script runs from any folder, also if the one with all experiments has another name
    sys.modules["experiments"] = ModuleType("experiments")
    sys.modules["experiments"].__path__ = [str(Path(__file__).resolve().parents[1])]

from experiments.shared import psychopy_check  # noqa: F401 (first: it says what is missing)
from experiments.shared.arguments import parser
from experiments.shared.monitor import Monitor
from experiments.shared.procedure import Experiment, Images, Stage, run
from experiments.shared.trial_list import Trial

INSTRUCTIONS = {
    "which_is_original": "Which of the two is the photograph?\n\nLeft: the first. Right: the second.",
    "same_different": "Are the two the same or different?\n\ns: same. d: different.",
}


def centres_px(monitor: Monitor, side_px: int) -> dict[str, tuple[float, float]]:
    """Return the centres of the images: both at fixation."""
    return {"first": (0.0, 0.0), "second": (0.0, 0.0)}


def instructions(trial: Trial) -> str:
    """Return what the participant reads before the first trial and after a break."""
    return INSTRUCTIONS[trial.row["task"]]


def show_trial(stage: Stage, trial: Trial, images: Images) -> Mapping[str, Any]:
    """Show fixation, the first image, fixation, the second, and fixation until there is an answer.

    Keys count from the onset of the second image on. Both images are always shown for their whole time.
    """
    display, frames = stage.display, stage.frames
    dot = [display.fixation]
    if trial.interval_s:
        display.show("interval", dot, frames(trial.interval_s))
    first = display.show("first", [images["first"]], frames(trial.presentation_s))
    isi = display.show("isi", dot, frames(trial.isi_s)) if trial.isi_s else None
    second = display.show("second", [images["second"]], frames(trial.presentation_s), keys=trial.keys)
    offset = display.show(
        "response",
        dot,
        frames(trial.response_s),
        keys=trial.keys,
        until_answer=True,
        press=stage.press(trial),
    )
    isi = second if isi is None else isi  # without one, the second image follows the first at once
    shown = {"shown_s": isi - first, "isi_shown_s": second - isi, "shown_second_s": offset - second}
    return {**stage.outcome(trial, second), **{name: f"{seconds:.6f}" for name, seconds in shown.items()}}


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment from the command line; return the exit code."""
    p = parser("Two intervals with the stimuli of a run.", "two_interval")
    experiment = Experiment(
        design="two_interval",
        instructions=instructions,
        centres_px=centres_px,
        show_trial=show_trial,
        phases=["first", "isi", "second"],
        at_once=False,
    )
    return run(experiment, p.parse_args(arguments), {})


if __name__ == "__main__":
    sys.exit(main())
