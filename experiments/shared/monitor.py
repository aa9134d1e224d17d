"""Calibration of a monitor: its size, distance and refresh rate, and how levels become luminance."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from experiments.shared.errors import ExperimentError

KEYS = ("name", "width_cm", "distance_cm", "size_px", "refresh_hz", "bits", "gamma", "gamma_table", "linear")
LUMINANCE_KEYS = ("gamma", "gamma_table", "linear")
LEAST_GAMMA, MOST_GAMMA = 1.0, 4.0
"""Displays have about 1.8 to 2.8; below 1 is the inverse, such as 0.45, written by mistake."""

LEAST_READINGS = 5
"""How many rows a table of readings needs, so that each can be compared with what the others predict."""
MOST_ERROR = 0.1
"""How far a reading may be from what the others predict, as a share of its luminance."""
DARKEST = 0.02
"""Darker readings than this share of white are compared as if they had it: photometers see no more."""


@dataclass(frozen=True)
class Monitor:
    """A calibrated monitor.

    Attributes
    ----------
    name
        What the laboratory calls it.
    width_cm, distance_cm
        Width of the picture on the glass, and distance from the eye to its centre.
    size_px
        Width and height of the picture in pixels; pixels are taken as square.
    refresh_hz
        Frames per second.
    bits
        Bits per colour that the window asks for.
    gamma
        Exponent of luminance = level ** gamma, or None.
    measured
        Measured luminance, shape (n, 4): level from 0 to 1, then red, green and blue; or None.
        With neither, the display is linear already.
    """

    name: str
    width_cm: float
    distance_cm: float
    size_px: tuple[int, int]
    refresh_hz: float
    bits: int = 8
    gamma: float | None = None
    measured: NDArray[np.float64] | None = None

    @property
    def ppd(self) -> float:
        """Pixels per degree of visual angle at the centre of the screen."""
        return self.size_px[0] / self.width_cm * 2 * self.distance_cm * math.tan(math.radians(0.5))

    @property
    def linear(self) -> bool:
        """Whether luminance is proportional to the level without a gamma ramp."""
        return self.gamma is None and self.measured is None

    def ramp(self, length: int) -> NDArray[np.float64] | None:
        """Return the gamma ramp that makes luminance proportional to the level; None if it is already.

        Parameters
        ----------
        length
            Number of entries of the graphics card's table.

        Returns
        -------
        ndarray of shape (3, length), 0 to 1
            For red, green and blue: the level to send for each level asked for. It is the inverse of the
            curve through the readings, from the darkest to the brightest luminance that the display can show.

        Raises
        ------
        ExperimentError
            If the table has fewer entries than the window has levels.
        """
        if not self.linear and length < 2**self.bits:
            raise ExperimentError(
                f"The gamma ramp of the graphics card has {length} entries, too few for {self.bits} bits.",
                "Linearise the display in hardware, measure it, and write linear: true; or write bits: 8.",
            )
        asked = np.linspace(0, 1, length)
        if self.gamma is not None:
            return np.tile(asked ** (1 / self.gamma), (3, 1))
        if self.measured is None:
            return None
        level, *channels = self.measured.T
        fine = np.linspace(0, 1, 2**14)
        return np.stack([np.interp(asked, luminance_curve(level, c, fine), fine) for c in channels])

    def described(self) -> dict[str, Any]:
        """Return what a session's metadata say about the monitor."""
        measured = None if self.measured is None else self.measured.tolist()
        return {
            "name": self.name,
            "width_cm": self.width_cm,
            "distance_cm": self.distance_cm,
            "size_px": list(self.size_px),
            "refresh_hz": self.refresh_hz,
            "bits": self.bits,
            "ppd": round(self.ppd, 4),
            "gamma": self.gamma,
            "gamma_table": measured,
            "gamma_table_error": None if self.measured is None else round(prediction_error(self.measured), 4),
            "linear": self.linear,
        }


def luminance_curve(
    level: NDArray[np.float64], luminance: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the luminance at any level: a curve through the readings that rises everywhere.

    Readings lie far apart where luminance bends most, so straight lines between them would be too bright. A
    power law is fitted first. In its coordinates the readings lie nearly on a line, through which a monotone
    cubic goes (Fritsch & Butland 1984, SIAM Journal on Scientific and Statistical Computing 5:300-304).

    Parameters
    ----------
    level, luminance
        Readings, both rising, shape (n,); levels from 0 to 1.
    at
        Levels from 0 to 1, any shape.

    Returns
    -------
    ndarray
        Luminance from 0, at level 0, to 1, at level 1.
    """
    shares = (luminance - luminance[0]) / (luminance[-1] - luminance[0])

    def residuals(gamma: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(level**gamma - shares)

    exponent = float(least_squares(residuals, 2.2, bounds=(0.2, 10)).x[0])
    return np.asarray(PchipInterpolator(level, shares ** (1 / exponent))(at) ** exponent)


def prediction_error(measured: NDArray[np.float64]) -> float:
    """Return how far the worst reading is from what all others predict, as a share of its luminance.

    Luminance is counted from black; see `DARKEST`.
    """
    level, *channels = measured.T
    worst = 0.0
    for luminance in channels:
        span = luminance[-1] - luminance[0]
        for left_out in range(1, len(level) - 1):
            others = np.arange(len(level)) != left_out
            predicted = luminance_curve(level[others], luminance[others], level[left_out])
            share = (luminance[left_out] - luminance[0]) / span
            worst = max(worst, abs(float(predicted) - share) / max(share, DARKEST))
    return worst


def load_monitor(path: Path) -> Monitor:
    """Read and check a calibration file.

    Raises
    ------
    ExperimentError
        If the file cannot be read or a value is missing, unknown or impossible; all problems at once.
    """
    found = _content(path)
    problems: list[str] = []
    if not isinstance(found, dict):
        problems.append("it has no keys and values")
        found = {}
    problems += [f"unknown key {key!r}" for key in found if key not in KEYS]
    numbers = {key: _positive(found, key, problems) for key in ("width_cm", "distance_cm", "refresh_hz")}
    size = found.get("size_px")
    sides = size if isinstance(size, list) and len(size) == 2 else []
    if not sides or not all(type(side) is int and side > 0 for side in sides):
        problems.append("size_px must be [width, height] in whole pixels")
        sides = [1, 1]
    bits = found.get("bits", 8)
    if type(bits) is not int or not 8 <= bits <= 16:
        problems.append("bits must be a whole number from 8 to 16: those of the display for each colour")
    given = [key for key in LUMINANCE_KEYS if key in found]
    gamma, measured = None, None
    if len(given) != 1:
        problems.append(
            "exactly one of gamma, gamma_table and linear must be given. Stimuli are linear in luminance: "
            "measure the display, or write linear: true if its hardware makes it linear"
        )
    elif given == ["gamma"]:
        gamma = _positive(found, "gamma", problems)
        if not LEAST_GAMMA <= gamma <= MOST_GAMMA:
            problems.append(
                f"gamma is {gamma:g}, and must be from {LEAST_GAMMA:g} to {MOST_GAMMA:g}: it is the exponent "
                "of luminance = level ** gamma, not its inverse; give a gamma_table for other displays"
            )
    elif given == ["gamma_table"]:
        if isinstance(found["gamma_table"], str) and found["gamma_table"].strip():
            measured = _measured(path.parent / found["gamma_table"], problems)
        else:
            problems.append("gamma_table must be the name of a CSV file, such as lab.csv")
    elif found["linear"] is not True:
        problems.append("linear can only be true; give gamma or gamma_table otherwise")
    name = found.get("name", path.stem)
    if not isinstance(name, str):
        problems.append("name must be a text")
    if problems:
        raise ExperimentError(
            f"{path}: " + f"\n{path}: ".join(problems),
            "experiments/monitor_example.yaml shows a complete calibration file.",
        )
    size_px = (sides[0], sides[1])
    return Monitor(str(name), **numbers, size_px=size_px, bits=bits, gamma=gamma, measured=measured)


def check_ppd(monitor: Monitor, stimuli_ppd: float | None, *, allow_mismatch: bool) -> None:
    """Raise unless the monitor shows the stimuli at the visual angle that they were made for, within 2 %."""
    if stimuli_ppd is None or allow_mismatch or abs(monitor.ppd / stimuli_ppd - 1) <= 0.02:
        return
    distance = monitor.distance_cm * stimuli_ppd / monitor.ppd
    raise ExperimentError(
        f"The stimuli were made for {stimuli_ppd:g} px/°, and the monitor {monitor.name} has "
        f"{monitor.ppd:.1f} px/° at {monitor.distance_cm:g} cm.",
        f"Move the observer to {distance:.1f} cm and change distance_cm, or pass --allow-ppd-mismatch.",
    )


def _positive(found: dict[str, Any], key: str, problems: list[str]) -> float:
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        problems.append(f"{key} must be a number above 0" + (", and is missing" if value is None else ""))
        return 1.0
    return float(value)


def _content(path: Path) -> Any:
    """Return what is in a YAML file, whose keys may not be there twice."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except OSError as error:
        raise ExperimentError(
            f"{path}: cannot be read: {error.strerror}.", "Name a calibration file with --monitor."
        ) from error
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: is not a text in UTF-8.", "Save it anew as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        place = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ExperimentError(
            f"{path}{place}: {error.problem or error.context}.",
            "Write one key and its value in each line, such as width_cm: 53.1, with a space after the colon.",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(
            f"{path}: is not YAML: {error}", "experiments/monitor_example.yaml shows a calibration file."
        ) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself keeps the last of two equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if key.value in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
                )
            keys.add(str(key.value))
        return super().construct_mapping(node, deep)


def _measured(path: Path, problems: list[str]) -> NDArray[np.float64] | None:
    """Return levels from 0 to 1 and the luminance of each channel, checked."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"gamma_table: {path} cannot be read: {error}")
        return None
    header = lines[0][1] if lines else []
    if header not in (["level", "luminance"], ["level", "red", "green", "blue"]):
        problems.append(f"gamma_table: {path} must have the columns level,luminance or level,red,green,blue")
        return None
    rows = []
    for number, row in lines[1:]:
        try:
            rows.append([float(cell) for cell in row])
        except ValueError as error:
            problems.append(f"gamma_table: {path}:{number}: {error}")
            return None
        if len(row) != len(header):
            problems.append(
                f"gamma_table: {path}:{number}: {len(row)} cells, and the header has {len(header)}"
            )
            return None
    values = np.array(rows, dtype=np.float64)
    if len(values) < LEAST_READINGS or not np.isfinite(values).all():
        problems.append(f"gamma_table: {path} must have {LEAST_READINGS} or more rows of finite numbers")
        return None
    if values[0, 0] != 0 or values[-1, 0] not in (1, 255):
        problems.append(f"gamma_table: the levels of {path} must go from 0 to 1, or from 0 to 255")
        return None
    falls = np.flatnonzero((np.diff(values, axis=0) <= 0).any(axis=1))
    if len(falls):
        low, high = values[falls[0] : falls[0] + 2, 0]
        problems.append(
            f"gamma_table: {path} must rise in every column, and does not from level {low:g} to {high:g}. "
            "Where the photometer cannot tell dark levels apart, keep the row of level 0 and leave out the "
            "other rows with the same reading"
        )
        return None
    if len(header) == 2:
        values = values[:, [0, 1, 1, 1]]
    values[:, 0] /= values[-1, 0]
    worst = prediction_error(values)
    if worst > MOST_ERROR:
        problems.append(
            f"gamma_table: a reading of {path} is {worst:.0%} from what the others predict, and contrasts "
            f"would be wrong; at most {MOST_ERROR:.0%} is accepted. Measure more levels, such as every 16th, "
            "or repeat uncertain readings"
        )
        return None
    return values
