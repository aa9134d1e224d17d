"""Procedure of a session: check everything, then block by block preload, show, save."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from psychopy import data

from experiments.shared.aperture import aperture, background_level, windowed
from experiments.shared.display import Display
from experiments.shared.errors import EscapePressed, ExperimentError
from experiments.shared.layout import check_layout
from experiments.shared.monitor import Monitor, check_ppd, load_monitor
from experiments.shared.observer import Psychometric, SimulatedObserver, stimulus_values
from experiments.shared.session import Session, open_session
from experiments.shared.trial_list import Trial, TrialList, read_trial_list

SIMULATED_SPEED = 10
"""A simulated observer's phases are this many times shorter, and at least two frames."""


@dataclass(frozen=True)
class Stage:
    """What a trial is shown with: the open display, the monitor's frames, and who answers."""

    display: Display
    observer: SimulatedObserver | None

    def frames(self, seconds: float) -> int:
        """Return a duration above 0 as a whole number of frames, at least one."""
        frames = seconds * self.display.monitor.refresh_hz
        return max(1, round(frames)) if self.observer is None else max(2, round(frames / SIMULATED_SPEED))

    def press(self, trial: Trial) -> tuple[str, int] | None:
        """Return the key of a simulated observer and the frame of the response time after which it comes."""
        if self.observer is None:
            return None
        key, share = self.observer.answer(trial)
        return key, 1 + int(share * (self.frames(trial.response_s) - 1))

    def outcome(self, trial: Trial, onset: float) -> dict[str, Any]:
        """Return the columns of the answer and of the frames; `onset` is what rt_s counts from."""
        answer = self.display.answer()
        frames = self.display.frames()
        intervals = [frame.interval_s for frame in frames]
        return {
            "response": answer[0] if answer else "",
            "correct": int(answer[0] == trial.correct_key) if answer else "",
            "rt_s": f"{answer[1] - onset:.4f}" if answer else "",
            "frames": len(frames) + 1,
            "dropped_frames": sum(frame.dropped for frame in frames),
            "frame_mean_s": f"{np.mean(intervals):.6f}",
            "frame_max_s": f"{max(intervals):.6f}",
        }


Images = Mapping[str, Any]
"""The images of a trial by place, ready to be drawn."""


@dataclass(frozen=True)
class Experiment:
    """What tells one experiment from another.

    Attributes
    ----------
    design
        Name of the design in the trial list.
    instructions
        Text before the first trial, from the first trial.
    centres_px
        Centre of each place's patch, right and up from the centre of the screen.
    show_trial
        Shows one trial and returns what was measured.
    phases
        The phases of which a screenshot is made, as far as a trial has them.
    at_once
        Whether all patches of a trial are on the screen at the same time: they may not overlap then.
    """

    design: str
    instructions: Callable[[Trial], str]
    centres_px: Callable[[Monitor, int], Mapping[str, tuple[float, float]]]
    show_trial: Callable[[Stage, Trial, Images], Mapping[str, Any]]
    phases: Sequence[str]
    at_once: bool


def run(experiment: Experiment, options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Run a session; return the exit code: 0 done, 2 something is wrong, 130 escape was pressed."""
    try:
        return _run(experiment, options, settings)
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 2


def _run(experiment: Experiment, options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    if options.screenshot:
        _check_screenshot(options.screenshot)
    monitor = load_monitor(options.monitor)
    trial_list = read_trial_list(options.trial_list, experiment.design)
    check_ppd(monitor, trial_list.ppd, allow_mismatch=options.allow_ppd_mismatch)
    for side in sorted({patch.side for trial in trial_list.trials for patch in trial.patches.values()}):
        centres = experiment.centres_px(monitor, side)
        check_layout(centres, side, monitor.size_px, at_once=experiment.at_once)
    observer = _observer(options, trial_list)
    if options.screenshot:
        return _screenshot(experiment, options, monitor, trial_list.trials[0])
    shown = {"aperture": options.aperture, "ramp_px": options.ramp_px, "background": options.background}
    session = open_session(
        options.data,
        trial_list,
        participant=options.participant,
        session=options.session,
        simulated=observer is not None,
        settings={"monitor": monitor.described(), **shown, **settings, **_observer_settings(options)},
        resume=options.resume,
    )
    display = _open_display(options, monitor, session.folder / "psychopy.log")
    try:
        stage = Stage(display, observer)
        refresh_hz = _checked_refresh(display, options) if observer is None else None
        allowed = {name: getattr(options, name) for name in ("allow_ppd_mismatch", "allow_refresh_mismatch")}
        session.begin_sitting(
            {
                "measured_refresh_hz": refresh_hz,
                "background_level": display.background,
                **allowed,
                **display.facts(),
            }
        )
        ended_by = "error"
        try:
            _show_trials(experiment, options, stage, session)
            ended_by = "last trial"
        except EscapePressed:
            ended_by = "escape"
        finally:
            session.end_sitting(ended_by)
            _save_for_psychopy(session)
    finally:
        display.close()
    print(f"{len(session.done)} of {len(trial_list.trials)} trials are in {session.folder / 'trials.csv'}")
    if ended_by == "escape":
        print("The same command goes on with the next trial.")
        return 130
    return 0


def _show_trials(experiment: Experiment, options: argparse.Namespace, stage: Stage, session: Session) -> None:
    display, trials = stage.display, session.trial_list.trials
    remaining = trials[len(session.done) :]
    block, images = None, {}
    for trial in remaining:
        if trial.block != block:
            block = trial.block
            images = _preload(experiment, options, display, [t for t in remaining if t.block == block])
        if trial is remaining[0] or trial.break_before:
            done = f"{len(session.done)} of {len(trials)} trials are done.\n\n" if session.done else ""
            text = (
                f"{done}{experiment.instructions(trial)}\n\nSpace: go on. Escape: stop; all trials are saved."
            )
            display.wait_for(text, "space", press=stage.observer is not None)
        display.begin_trial()
        measured = experiment.show_trial(stage, trial, images[trial.number])
        session.save_trial(measured, display.frames())


def _preload(
    experiment: Experiment, options: argparse.Namespace, display: Display, trials: Sequence[Trial]
) -> dict[int, Images]:
    """Return the images of trials, on the graphics card, so that none is loaded while a trial runs."""
    images: dict[int, Images] = {}
    for trial in trials:
        side = next(iter(trial.patches.values())).side
        centres = experiment.centres_px(display.monitor, side)
        weights = aperture(side, options.aperture, options.ramp_px)
        images[trial.number] = {
            place: display.image(windowed(patch, weights, display.background), centres[place])
            for place, patch in trial.patches.items()
        }
        for stimulus in (*images[trial.number].values(), display.fixation):
            stimulus.draw()  # what a first drawing has to set up takes time, too
    display.window.clearBuffer()
    return images


def _open_display(options: argparse.Namespace, monitor: Monitor, log: Path | None) -> Display:
    level = background_level(options.background)
    return Display(monitor, level, windowed=options.windowed, screen=options.screen, log=log)


def _observer(options: argparse.Namespace, trial_list: TrialList) -> SimulatedObserver | None:
    if options.simulate is None:
        return None
    function = Psychometric(options.observer_threshold, options.observer_slope, options.observer_lapse)
    values = None
    if options.observer_column:
        table = trial_list.run_folder / "stimuli.csv"
        values = stimulus_values(table, options.observer_column, trial_list.trials)
    return SimulatedObserver(options.simulate, function, values)


def _observer_settings(options: argparse.Namespace) -> dict[str, Any]:
    if options.simulate is None:
        return {}
    names = ("simulate", "observer_column", "observer_threshold", "observer_slope", "observer_lapse")
    return {name: getattr(options, name) for name in names}


def _checked_refresh(display: Display, options: argparse.Namespace) -> float | None:
    """Return the measured refresh rate; raise if it is not that of the calibration, within 2 %."""
    measured, stated = display.measured_refresh_hz(), display.monitor.refresh_hz
    if options.allow_refresh_mismatch or (measured is not None and abs(measured / stated - 1) <= 0.02):
        return measured
    found = "are not steady" if measured is None else f"come at {measured:.2f} Hz"
    raise ExperimentError(
        f"Frames {found}, and the calibration says {stated:g} Hz: durations would be wrong.",
        "Close other programs, set the display to that rate, or pass --allow-refresh-mismatch for a try.",
    )


def _check_screenshot(path: Path) -> None:
    """Raise unless a picture can be saved there."""
    if path.suffix.lower() != ".png" or path.is_dir() or not path.parent.is_dir():
        raise ExperimentError(
            f"--screenshot {path}: is not the name of a PNG file in a folder that is there.",
            "Make the folder, and name a file that ends in .png.",
        )


def _screenshot(experiment: Experiment, options: argparse.Namespace, monitor: Monitor, trial: Trial) -> int:
    display = _open_display(options, monitor, None)
    try:
        images = _preload(experiment, options, display, [trial])
        display.screenshots = {}
        display.begin_trial()
        experiment.show_trial(Stage(display, None), trial, images[trial.number])
        taken = display.screenshots
        shots = [taken[phase] for phase in experiment.phases if phase in taken]
    finally:
        display.close()
    Image.fromarray(np.concatenate(shots, axis=1)).save(options.screenshot)
    print(f"Screenshot: {options.screenshot}")
    return 0


def _save_for_psychopy(session: Session) -> None:
    """Write the trials once more, as PsychoPy's ExperimentHandler does, for scripts that read its files."""
    handler = data.ExperimentHandler(name=session.trial_list.design, savePickle=False, saveWideText=False)
    for row in session.done:
        for column, value in row.items():
            handler.addData(column, value)
        handler.nextEntry()
    handler.saveAsWideText(
        str(session.folder / "psychopy.csv"), delim="comma", fileCollisionMethod="overwrite"
    )
