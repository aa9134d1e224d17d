"""Spatial three-alternative oddity: three patches around fixation, one of which is of another image.

The design of Wallis, Funke, Ecker, Gatys, Wichmann & Bethge (2017), Journal of Vision 17(12):5: a triangle
that points down, 3° from fixation to the nearest edge of each patch, no feedback. Durations, breaks, patches
and the order of trials come from the trial list. Keys: left, right and down.

    python experiments/oddity/oddity.py results/NAME/trials/oddity.csv --participant p01 --monitor lab.yaml
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

if not __package__:  # a script runs from any folder, also if the one with all experiments has another name
    sys.modules["experiments"] = ModuleType("experiments")
    sys.modules["experiments"].__path__ = [str(Path(__file__).resolve().parents[1])]

from experiments.shared import psychopy_check  # noqa: F401 (first: it says what is missing)
from experiments.shared.arguments import eccentricity, parser
from experiments.shared.monitor import Monitor
from experiments.shared.procedure import Experiment, Images, Stage, run
from experiments.shared.trial_list import Trial

DIRECTIONS_DEG = {"left": 150, "right": 30, "bottom": 270}
"""Where the patches are: two above fixation, one below; anticlockwise from the right."""


def centres_px(monitor: Monitor, side_px: int, *, eccentricity_deg: float) -> dict[str, tuple[float, float]]:
    """Return the centres of the patches: on a circle, half a patch further out than their nearest edges."""
    radius = eccentricity_deg * monitor.ppd + side_px / 2
    angles = {place: math.radians(degrees) for place, degrees in DIRECTIONS_DEG.items()}
    return {place: (radius * math.cos(angle), radius * math.sin(angle)) for place, angle in angles.items()}


def instructions(trial: Trial) -> str:
    """Return what the participant reads before the first trial and after a break."""
    question = "Which of the three patches differs from the other two?"
    return f"{question}\n\nLook at the dot. Answer: left, right or down."


def show_trial(stage: Stage, trial: Trial, images: Images) -> Mapping[str, Any]:
    """Show fixation, the three patches, and fixation until there is an answer or time is up.

    Keys count from the onset of the patches on. The patches are always shown for their whole time.
    """
    display, frames = stage.display, stage.frames
    dot = [display.fixation]
    if trial.interval_s:
        display.show("interval", dot, frames(trial.interval_s))
    onset = display.show(
        "presentation", [*images.values(), *dot], frames(trial.presentation_s), keys=trial.keys
    )
    offset = display.show(
        "response",
        dot,
        frames(trial.response_s),
        keys=trial.keys,
        until_answer=True,
        press=stage.press(trial),
    )
    return {**stage.outcome(trial, onset), "shown_s": f"{offset - onset:.6f}"}


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment from the command line; return the exit code."""
    p = parser("Spatial three-alternative oddity with the stimuli of a run.", "oddity")
    p.add_argument(
        "--eccentricity-deg",
        type=eccentricity,
        default=3.0,
        help="from fixation to the patches' nearest edge (default 3)",
    )
    options = p.parse_args(arguments)
    settings = {"eccentricity_deg": options.eccentricity_deg}
    experiment = Experiment(
        design="oddity",
        instructions=instructions,
        centres_px=partial(centres_px, **settings),
        show_trial=show_trial,
        phases=["presentation"],
        at_once=True,
    )
    return run(experiment, options, settings)


if __name__ == "__main__":
    sys.exit(main())
