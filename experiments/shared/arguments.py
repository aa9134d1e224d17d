"""Command line of the experiments."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path


def parser(description: str, design: str) -> argparse.ArgumentParser:
    """Return the arguments that all experiments have."""
    p = argparse.ArgumentParser(description=description, allow_abbrev=False)
    p.add_argument("trial_list", type=Path, help=f"trial list, such as results/NAME/trials/{design}.csv")
    p.add_argument("--participant", required=True, help="identifier; a letter first")
    p.add_argument("--session", type=_from(1), default=1, help="number of the session, from 1 (default 1)")
    p.add_argument("--monitor", type=Path, required=True, help="calibration file of the monitor")
    p.add_argument("--data", type=Path, default=Path("data"), help="folder for the data (default data)")
    p.add_argument("--screen", type=_from(0), default=0, help="number of the screen, from 0 (default 0)")
    p.add_argument("--windowed", action="store_true", help="in a window of the monitor's size, to try it out")
    p.add_argument(
        "--aperture",
        choices=["circle", "square"],
        default="circle",
        help="shape of the patches (default circle)",
    )
    p.add_argument("--ramp-px", type=_ramp, default=6.0, help="width of the raised-cosine ramp (default 6)")
    p.add_argument(
        "--background", type=_fraction, default=0.5, help="fraction of white, 0 to 1 (default 0.5, mean grey)"
    )
    p.add_argument("--allow-ppd-mismatch", action="store_true", help="show stimuli at another visual angle")
    p.add_argument(
        "--allow-refresh-mismatch",
        action="store_true",
        help="go on though frames are not at the calibrated rate",
    )
    p.add_argument(
        "--resume", action="store_true", help="go on with an interrupted session, and start no new one"
    )
    p.add_argument("--screenshot", type=Path, help="save the first trial as a PNG file and end; no data")
    simulated = p.add_argument_group("simulated observer")
    simulated.add_argument(
        "--simulate", type=int, metavar="SEED", help="a simulated observer answers, ten times as fast"
    )
    simulated.add_argument(
        "--observer-column", help="column of stimuli.csv that it sees (default: all the same)"
    )
    simulated.add_argument(
        "--observer-threshold", type=float, default=0.5, help="half-way value (default 0.5)"
    )
    simulated.add_argument("--observer-slope", type=float, default=10.0, help="logistic slope (default 10)")
    simulated.add_argument(
        "--observer-lapse", type=_fraction, default=0.0, help="share of lapses (default 0)"
    )
    return p


def eccentricity(text: str) -> float:
    """Return a distance from fixation in degrees, from 0 to 90."""
    value = _number(text)
    if not 0 <= value <= 90:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 90")
    return value


def _from(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)

    return whole_number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


def _fraction(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value


def _ramp(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value
